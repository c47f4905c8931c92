"""Write docs/references.bib, an entry for every paper that a config is about: `python docs/site/references.py`.

With `--check` only say, by exit status 1, that it is stale. Titles and years are those of the configs, authors those of
`authors.py`, which has the whole titles of some, too.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "site")]

from authors import AUTHORS, TITLES  # noqa: E402, after the path

from experiments._config import load_module, shipped_configs, short_name  # noqa: E402

PAGE = ROOT / "docs" / "references.bib"
NUMBER = r"arXiv\s+(\d{4}\.\d{4,5})"
HEAD = """% Written by `python docs/site/references.py` from the configs and authors.py.
"""


def entry(name: str, paper: str, doc: str) -> str:
    """The BibTeX entry of a config's paper; empty if it is about none on arXiv.

    Args:
      name: of the config.
      paper: what it calls the paper.
      doc: the docstring of its file, where the title is whole.
    """
    number = re.search(NUMBER, paper)
    if not number:
        return ""
    flat = " ".join(doc.partition("python -m")[0].partition("\n\n")[2].split())
    whole = re.search(
        rf"(?:^|[.;] )([^.;]+(?:\.[^.;]+)*?)[, ]+\(?(\d{{4}}),? arXiv {re.escape(number[1])}", flat
    )
    year = whole[2] if whole else re.search(r"(\d{4}), arXiv", paper)[1]
    title = (whole[1] if whole else paper.partition(" (")[0]).rstrip(",")
    title = re.sub(r", [A-Z]+$", "", title)  # a conference may stand before the year
    fields = {
        "author": AUTHORS.get(number[1], "").replace(", ", " and "),
        "title": f"{{{TITLES.get(number[1], title)}}}",
        "year": year,
        "eprint": number[1],
        "archivePrefix": "arXiv",
        "url": f"https://arxiv.org/abs/{number[1]}",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@misc{{{short_name(name)},", *lines, "}"])


def text() -> str:
    """The whole file; a paper of several configs stands once."""
    found: dict[str, str] = {}
    for name, path in shipped_configs().items():
        module = load_module(path)
        paper = module.get_config(None).paper
        number = re.search(NUMBER, paper)
        if number:
            found.setdefault(number[1], entry(name, paper, module.__doc__))
    return HEAD + "\n" + "\n\n".join(found.values()) + "\n"


def main(argv: list[str]) -> int:
    """0 when the file is, or was brought, up to date; 1 when `--check` finds it stale."""
    stale = not PAGE.exists() or PAGE.read_text() != text()
    if "--check" in argv:
        return int(stale)
    PAGE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
