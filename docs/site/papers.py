"""A page a paper, from its config, its published results and what people wrote about them."""

import inspect
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import docstrings
import pictures
import references
from docstrings import Public

from experiments._config import load_module, shipped_configs
from jaxlab.training.publish import APART
from jaxlab.training.report import filled, published_claims_table, table, verdict

GATES = ("premise", "room")
VERDICTS = ("supported", "opposite", "no effect", "undecided", "not tested", "withdrawn", "none")
WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n"  # without a table of its own contents
DEVIATIONS = "Other than in the paper:"


class Paper(NamedTuple):
    """All that is known of one config.

    Attributes:
      name: "distillation/pld".
      config: its default.
      doc: the docstring of its file.
      variants: their names.
      results: published, by variant, the default's under "default".
      curves: of each of these results.
      functions: of the library that have it as their reference.
    """

    name: str
    config: Any
    doc: str
    variants: Sequence[str]
    results: Mapping[str, Mapping[str, Any]]
    curves: Mapping[str, Mapping[str, Any]]
    functions: Sequence[Public]

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    @property
    def title(self) -> str:
        """The heading of what people wrote, else the first words of the paper."""
        text = pathlib.Path("results") / f"{self.name}.md"
        if text.exists():
            return text.read_text().partition("\n")[0].removeprefix("# ")
        return re.sub(r"\s*\(.*", "", self.config.paper.partition(":")[0])

    @property
    def arxiv(self) -> str:
        found = re.search(
            r"arXiv\s+(\d{4}\.\d{4,5})", f"{self.config.paper} {self.doc.partition('python -m')[0]}"
        )
        return found[1] if found else ""

    @property
    def link(self) -> str:
        return f"[{self.arxiv}](https://arxiv.org/abs/{self.arxiv})" if self.arxiv else "–"

    @property
    def headlines(self) -> list[Mapping[str, Any]]:
        return [
            one for result in self.results.values() for one in result["claims"] if one["kind"] == "headline"
        ]


def papers(published: Mapping[str, Any], curves: Mapping[str, Any], names: Sequence[Public]) -> list[Paper]:
    """Every config with what belongs to it.

    Args:
      published: of `publish.completed`.
      curves: what stands beside them, by the same names.
      names: all public names of the library.
    """
    found = []
    for name, path in shipped_configs().items():
        module = load_module(path)
        config = module.get_config(None)
        own = {key: one for key, one in published.items() if one["config"] == name and _stands_alone(one)}
        ordered = sorted(own.items(), key=lambda item: item[1]["variant"] != "default")
        results = {one["variant"]: one for _, one in ordered}
        drawn = {one["variant"]: curves.get(key, {}) for key, one in ordered}
        doc = inspect.cleandoc(module.__doc__)
        used = functions_of(config.paper, doc, names)
        found.append(Paper(name, config, doc, module.VARIANTS, results, drawn, used))
    return found


def _stands_alone(result: Mapping[str, Any]) -> bool:
    return result["variant"] not in APART and not result["variant"].endswith("tune")


def functions_of(paper: str, doc: str, names: Sequence[Public]) -> list[Public]:
    """The functions whose docstring names the paper as its reference, by title or by the method's own name."""
    plain = lambda text: re.sub(r"[^a-z0-9]+", " ", text.lower())
    short, _, rest = paper.partition(":")
    title = plain(re.sub(r"\(.*", "", rest or short)).strip()
    method = re.sub(r"\s*\(.*", "", short) if rest else ""
    found = []
    for one in names:
        reference = re.split(r"^References?:", one.doc, maxsplit=1, flags=re.MULTILINE)[1:]
        if not reference or not callable(one.value):
            continue
        named = len(method) > 1 and re.search(rf"\b{re.escape(method)}\b", reference[0])
        if named or (len(title) > 12 and title[:28] in plain(reference[0])):
            found.append(one)
    own = plain(method or short).strip().replace(" ", "_")
    rank = lambda one: (own not in one.name, not one.name.endswith(("_loss", "_learner", "_advantage")))
    return sorted(found, key=rank)


def write(paper: Paper, source: pathlib.Path) -> None:
    """The page, its pictures, and the files that it links."""
    page = source / "papers" / f"{paper.name}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    parts = [_head(paper), _idea(paper), _equations(paper)]
    parts += [part for variant in paper.results for part in _result(paper, variant, page)]
    parts += [_settings(paper), _deviations(paper), _files(paper)]
    page.write_text("\n\n".join(part for part in parts if part) + "\n")
    _draw(paper, page)


def _draw(paper: Paper, page: pathlib.Path) -> None:
    for path in pathlib.Path("docs/results").glob(f"{page.stem}*.png"):  # drawn for the text of the page
        shutil.copy(path, page.parent)
    panels: list[Any] = []
    for variant, result in paper.results.items():
        stem = page.parent / f"{page.stem}-{variant}"
        pictures.verdicts(stem.with_name(f"{stem.name}-verdicts.svg"), result["claims"])
        own = pictures.curve_panels(paper.curves[variant])
        if own:
            pictures.curves(stem.with_name(f"{stem.name}-curves.svg"), own)
        panels = panels or own
    claims = [one for result in paper.results.values() for one in result["claims"]]
    if paper.results:
        pictures.thumbnail(page.with_name(f"{page.stem}-small.png"), panels, claims)


def _head(paper: Paper) -> str:
    said = paper.config.paper.replace(f"arXiv {paper.arxiv}", f"arXiv {paper.link}")
    minutes = f"about {paper.config.minutes:g} minutes on two CPU cores"
    run = f"jaxlab run {paper.name}          # {minutes}\njaxlab run {paper.name}:smoke    # to see that it works"
    return f"# {paper.title}\n\n{said}.\n\nScale here: {paper.config.scale}.\n\n```bash\n{run}\n```"


def _paragraphs(doc: str) -> list[str]:
    """The text of a config's docstring, without its title, the paper's and its commands."""
    blocks = re.split(r"\n\s*\n", doc)[1:]
    cited = lambda block: "arXiv" in block and block.count("\n") < 2
    return [block for block in blocks if not block.startswith("    ") and not cited(block)]


def _idea(paper: Paper) -> str:
    first = " ".join(paper.doc.split("\n\n")[0].split())
    said = [first]
    if paper.functions:
        main = paper.functions[0]
        text = re.split(r"\n\n {4,}|^(?:Args|Returns):", main.doc, maxsplit=1, flags=re.MULTILINE)[0]
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(text.split()))
        said.append(" ".join(sentences[:3]))
    return "## The idea\n\n" + "\n\n".join(said)


def _equations(paper: Paper) -> str:
    if not paper.functions:
        return ""
    lines = ["## Equations and functions"]
    for one in paper.functions[:6]:
        lines.append(f"{{py:obj}}`{one.path}`: {one.line}")
        if found := docstrings.equation(one.doc):
            lines.append(f"```text\n{found}\n```")
    return "\n\n".join(lines)


def _result(paper: Paper, variant: str, page: pathlib.Path) -> list[str]:
    result = paper.results[variant]
    name = paper.name + ("" if variant == "default" else f"-{variant}")
    title = "" if variant == "default" else f" (`:{variant}`)"
    unknown = " Published from code that was not committed." if result.get("code") == "unknown" else ""
    spent = result["wall_s"]
    minutes = f"{spent / 60:.1f} minutes" if spent > 6 else f"{spent:.0f} seconds"
    resampled = any(one.get("rule") == "percentile" for one in result["claims"])
    seeds = f"{len(result['seeds'])} {'resamples of the data' if resampled else 'seeds'}"
    facts = f"Scale: {result['scale']}; {seeds}, {minutes} on {result['device']}.{unknown}"
    first = variant == next(iter(paper.results))
    parts = [f"## What was tested{title}", facts, *(_tested(paper) if first else []), _gates(result)]
    counted = [one for one in result["claims"] if one["kind"] not in GATES]
    parts.append(f"## Verdicts{title}")
    if any(one["effect"] is not None and one["verdict"] != "withdrawn" for one in result["claims"]):
        parts.append(f"![Effects with their intervals]({page.stem}-{variant}-verdicts.svg)")
        parts.append(
            "Differences between paired seeds with 95 % intervals; gates are squares. Green: supported, red: opposite, "
            "blue: no effect, grey: not decided. The band is the size below which an effect is of no interest."
        )
    if counted:
        parts.append(published_claims_table(result))
    text = pathlib.Path("results") / f"{name}.md"
    if text.exists():
        body = filled(text.read_text(), result).partition("\n")[2].strip()
        parts += [f"## What was found{title}", re.sub(r"^#", "##", body, flags=re.MULTILINE)]
    if pictures.curve_panels(paper.curves[variant]):
        parts += [f"## Curves{title}", f"![Curves over steps]({page.stem}-{variant}-curves.svg)"]
    return parts


def _tested(paper: Paper) -> list[str]:
    text = "\n\n".join(_paragraphs(paper.doc)).partition(DEVIATIONS)[0].strip()
    return [text] if text else []


def _gates(result: Mapping[str, Any]) -> str:
    gates = [one for one in result["claims"] if one["kind"] in GATES]
    if not gates:
        return ""
    rows = [["precondition", "needed by", "verdict"]]
    for gate in gates:
        needing = [one["text"] for one in result["claims"] if gate["name"] in one.get("needs", ())]
        rows.append([gate["text"], "; ".join(needing) or "–", verdict(gate)])
    return "\n".join(table(rows, aligned=False))


def _settings(paper: Paper) -> str:
    config = paper.config.to_dict()
    parts = {"": config} | {f"{name}: ": task for name, task in config.get("tasks", {}).items()}
    out = ["## Settings"]
    leave = ("claims", "arms", "tasks", "paper", "scale", "experiment")
    rows = [["key", "value"], *([key, _value(value)] for key, value in _flat(config, leave).items())]
    rows += [
        [f"tasks.{name}.{key}", _value(value)]
        for name, task in config.get("tasks", {}).items()
        for key, value in _flat(task, ("arms",)).items()
    ]
    out.append(
        f"The driver is `experiments.{config['experiment']}`; every key is a flag, `--config.KEY=VALUE`."
    )
    for title, part in parts.items():
        if part.get("arms"):
            out.append(_arms(title, part["arms"]))
    folded = "\n".join(table(rows, aligned=False))
    return "\n\n".join([*out, f":::{{dropdown}} Of the whole run\n\n{folded}\n:::"])


def _arms(title: str, arms: Mapping[str, Any]) -> str:
    own = {name: _flat(arm, ()) for name, arm in arms.items()}
    keys = list(dict.fromkeys(key for arm in own.values() for key in arm))
    rows = [[f"{title}arm", *keys]]
    rows += [[name, *(_value(arm[key]) if key in arm else "–" for key in keys)] for name, arm in own.items()]
    return "\n".join(table(rows, aligned=False))


def _flat(tree: Mapping[str, Any], leave: Sequence[str], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if (key not in leave or prefix) and value != {}:
            path = f"{prefix}{key}"
            found |= _flat(value, leave, f"{path}.") if isinstance(value, dict) else {path: value}
    return found


def _value(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|") if text not in ("", "{}", "()") else "–"


def _deviations(paper: Paper) -> str:
    _, found, text = "\n\n".join(_paragraphs(paper.doc)).partition(DEVIATIONS)
    parts = [f"## {DEVIATIONS.rstrip(':')}\n\n{text.strip()[0].upper()}{text.strip()[1:]}"] if found else []
    differ = [
        f"- {{py:obj}}`{one.path}`: `authors_code=True` gives the numbers of the authors' code."
        for one in paper.functions
        if callable(one.value) and "authors_code" in str(inspect.signature(one.value))
    ]
    return "\n\n".join([*parts, "\n".join(differ)]).strip()


def _files(paper: Paper) -> str:
    up = "../" * (paper.name.count("/") + 1)
    lines = [
        f"- config: [`{paper.name}.py`]({up}configs/{paper.name}.py), variants {', '.join(paper.variants)}"
    ]
    for variant in paper.results:
        name = paper.name + ("" if variant == "default" else f"-{variant}")
        files = [f"{name}.json", *([f"{name}.curves.json"] if paper.curves[variant] else [])]
        lines.append("- result: " + ", ".join(f"[`{file}`]({up}results/{file})" for file in files))
    if not paper.results:
        lines.append("- not published yet")
    cited = references.entry(paper.name, paper.config.paper, paper.doc)
    cite = f"\n\n:::{{dropdown}} BibTeX of the paper\n\n```bibtex\n{cited}\n```\n:::" if cited else ""
    return "## Files\n\n" + "\n".join(lines) + cite


def gallery(found: Sequence[Paper]) -> str:
    """A card for every published paper, by family."""
    lines = [
        WIDE + "# Gallery",
        "What ran, family by family: the first curves of each paper, or its intervals.",
    ]
    for family in families(found):
        if own := [paper for paper in found if paper.family == family and paper.results]:
            lines += [f"## {heading(family)}", _cards(own)]
    return "\n\n".join(lines)


def family_page(family: str, own: Sequence[Paper]) -> str:
    """The papers of one family: cards, and links to those without a result."""
    lines = [f"# {heading(family)}"]
    if published := [paper for paper in own if paper.results]:
        lines += [_cards(published), f"All claims in one place: [results](../docs/results/{family}.md)."]
    if waiting := [f"[{paper.title}]({paper.name}.md)" for paper in own if not paper.results]:
        lines.append(f"Not published yet: {', '.join(waiting)}.")
    claims = [f"All claims <../docs/results/{family}>"] if published else []
    pages = "\n".join([*(paper.name for paper in own), *claims])
    return "\n\n".join([*lines, f"```{{toctree}}\n:hidden:\n\n{pages}\n```"])


def _cards(own: Sequence[Paper]) -> str:
    cards = []
    for paper in own:
        words = "; ".join(dict.fromkeys(one["verdict"] for one in paper.headlines)) or "a benchmark"
        options = (
            f":img-top: {paper.name}-small.png\n:img-alt: first curves\n:link: {paper.name}\n:link-type: doc"
        )
        cards.append(f":::{{grid-item-card}} {paper.title}\n{options}\n\n{words}\n:::")
    return "\n".join(["::::{grid} 2 3 3 4", ":gutter: 2", "", *cards, "::::"])


def families(found: Sequence[Paper]) -> list[str]:
    """Their names, in order."""
    return list(dict.fromkeys(paper.family for paper in found))


def heading(family: str) -> str:
    """A family's name as people write it."""
    return family.replace("_", "-").capitalize()


def index(found: Sequence[Paper]) -> str:
    """Every paper with its link, scale and headline verdicts; what they add up to; the pages of all."""
    rows = [["paper", "family", "arXiv", "scale here", "headline verdicts", "minutes"]]
    for paper in found:
        words = "; ".join(one["verdict"] + (", fragile" if one["fragile"] else "") for one in paper.headlines)
        rows.append(
            [f"[{paper.title}]({paper.name}.md)", paper.family, paper.link, paper.config.scale,
             words or ("a benchmark" if paper.results else "not published"), f"{paper.config.minutes:g}"]
        )  # fmt: skip
    pages = "\n".join(families(found))
    return "\n\n".join(
        [
            WIDE + "# Papers",
            "Every comparison of the library. A verdict is about the scale in its row and says nothing of the paper's "
            "own. *Supported*: what the claim says holds, by an amount that matters; *opposite*: its contrary does; "
            "*no effect*: neither; *undecided*: more seeds would be needed; *not tested*: a precondition failed "
            "([how to read one](../docs/verdicts.md)). A click on a column's head sorts. To cite them: "
            "[references.bib](../docs/references.bib).",
            "\n".join(table(rows, aligned=False)),
            "## Headline verdicts by family",
            totals(found),
            f"```{{toctree}}\n:hidden:\n\ngallery\n{pages}\n```",
        ]
    )


def totals(found: Sequence[Paper]) -> str:
    """How often each verdict was given on headlines, by family."""
    rows = [["family", "papers", "headlines", *VERDICTS]]
    counts = {family: [p for p in found if p.family == family and p.results] for family in families(found)}
    for family, own in [*counts.items(), ("all", [p for p in found if p.results])]:
        words = [one["verdict"] for paper in own for one in paper.headlines]
        rows.append([family, str(len(own)), str(len(words)), *(str(words.count(word)) for word in VERDICTS)])
    return "\n".join(table(rows, aligned=False))
