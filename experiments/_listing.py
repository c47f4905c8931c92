"""What `--list` prints: a line a config, or all of one paper."""

from collections.abc import Mapping
from typing import Any

from experiments._config import HOME, load_module, shipped_configs, short_name
from jaxlab.core import InputError
from jaxlab.training import report
from jaxlab.training.publish import APART, completed, load_results
from jaxlab.training.workdir import suggest

RESULTS = HOME / "results"


def listing(wanted: str = "") -> str:
    """A line a config: its minutes, and the headline verdicts of every published variant.

    Args:
      wanted: a paper, `pld` or `distillation/pld`, of which all is told: its variants, claims and verdicts.

    Raises:
      InputError: if there is no such paper.
    """
    paths = shipped_configs()
    published = completed(load_results(RESULTS)) if RESULTS.is_dir() else {}
    if wanted:
        return "\n".join(_whole(name, paths[name], published) for name in _named(wanted, paths))
    # A path where it leads there from here, as in a checkout; a name elsewhere.
    shown = {name: name if path.startswith("/") else path for name, path in paths.items()}
    width = max(map(len, shown.values()))
    return "\n".join(_line(name, path, shown[name].ljust(width), published) for name, path in paths.items())


def page_of(wanted: str) -> str:
    """What people wrote about the published results of a paper, with its numbers; empty if there are none.

    Args:
      wanted: as for `listing`.
    """
    published = completed(load_results(RESULTS)) if RESULTS.is_dir() else {}
    pages = {name: RESULTS / f"{name}.md" for name in _named(wanted, shipped_configs()) if name in published}
    texts = [
        report.filled(page.read_text(), published[name]) for name, page in pages.items() if page.exists()
    ]
    return "\n\n".join(text.rstrip("\n") for text in texts)


def _named(wanted: str, paths: Mapping[str, str]) -> list[str]:
    found = [name for name in paths if wanted in (name, short_name(name))]
    if not found:
        raise InputError(f"there is no paper {wanted!r}{suggest(wanted, [*paths, *map(short_name, paths)])}")
    return found


def _line(name: str, path: str, shown: str, published: Mapping[str, Mapping[str, Any]]) -> str:
    minutes = load_module(path).get_config(None).minutes
    said = [
        (f"{variant}: " if variant else "") + ", ".join(verdicts)
        for variant, result in _variants(name, published).items()
        if (verdicts := [claim["verdict"] for claim in result["claims"] if claim["kind"] == "headline"])
    ]
    return f"{shown}  {minutes:>6g} min  {'; '.join(said) or 'no headline published'}"


def _variants(name: str, published: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The published results of a config that stand by themselves, by variant, the default's under ""."""
    own = [
        result for result in published.values() if result["config"] == name and result["variant"] not in APART
    ]
    ordered = sorted(own, key=lambda result: result["variant"] != "default")
    return {"" if result["variant"] == "default" else result["variant"]: result for result in ordered}


def _whole(name: str, path: str, published: Mapping[str, Mapping[str, Any]]) -> str:
    module = load_module(path)
    config = module.get_config(None)
    variants = ", ".join(getattr(module, "VARIANTS", ())) or "none"
    lines = [f"{path}  (about {config.minutes:g} min)", f"    {config.paper}", f"    variants: {variants}"]
    results = {variant: found for variant, found in _variants(name, published).items() if found["claims"]}
    for variant, result in results.items():
        lines += [f"  {variant or 'default'}, {len(result['seeds'])} seeds:"]
        lines += [f"    - {own['kind']}: {own['text']}: {report.verdict(own)}" for own in result["claims"]]
    if "" not in results:
        kind = lambda said: said.get("kind", "headline")
        lines += [f"    - {kind(said)}: {said['text']}: not published yet" for said in config.claims]
    return "\n".join(lines)
