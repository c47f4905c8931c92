"""Write what the published results say into README.md and the pages of results/, and what all say together into each.

With `--check` only say, by exit status 1, that something is stale.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from jaxlab.training.publish import APART, completed, load_results
from jaxlab.training.report import all_claims_table, filled, summary_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
PAGE = """# All claims

Every claim of every published result, written by `python docs/make_readme_table.py`. Headlines and gates (premise,
room) are decided by their 95 % interval, the others by the Holm-adjusted one, which is then the interval shown. A star:
the headline passes Benjamini and Hochberg at 0.05 over all headlines. A dagger: the code of this result is not known,
its tree had changes that were not committed or its commit is missing. What the words mean:
[docs/architecture.md](../docs/architecture.md#verdicts).

"""

FOUND = """# What was found, paper by paper

The texts are `results/<family>/<paper>.md`, written by people; the numbers are those of the published results, put in
by `python docs/make_readme_table.py`: effect, 95 % interval, verdict. The verdicts of secondary claims, ablations and
benchmark rows are by the wider interval of Holm, which is in [README.md](README.md).

"""


def updated(text: str, table: str) -> str:
    """The text with the table between its two markers."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md must hold {BEGIN} and, after it, {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def files(root: pathlib.Path) -> dict[pathlib.Path, str]:
    """What every file that depends on the results must hold."""
    results = completed(load_results(root / "results"))
    readme = root / "README.md"
    wanted = {
        root / "results" / f"{name}.json": json.dumps(found, indent=1) + "\n"
        for name, found in results.items()
    }
    results = {name: found for name, found in results.items() if found["variant"] not in APART}
    wanted[readme] = updated(readme.read_text(), summary_table(results))
    wanted[root / "results" / "README.md"] = PAGE + all_claims_table(results) + "\n"
    wanted[root / "results" / "FOUND.md"] = FOUND + "\n".join(found(root, results))
    return wanted


def found(root: pathlib.Path, results: Mapping[str, Any]) -> list[str]:
    """What people wrote about the results, with its numbers, one heading lower."""
    pages = {f"{page.parent.name}/{page.stem}": page for page in sorted((root / "results").glob("*/*.md"))}
    return ["#" + filled(page.read_text(), results[name]) for name, page in pages.items()]


def main(argv: list[str]) -> int:
    """0 when all files are, or were brought, up to date; 1 when `--check` finds one stale."""
    stale = {
        path: text for path, text in files(ROOT).items() if not path.exists() or path.read_text() != text
    }
    if "--check" in argv:
        return int(bool(stale))
    for path, text in stale.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
