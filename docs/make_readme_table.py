"""Write what the published results say into README.md and docs/results, and what all say together into each.

With `--check` only say, by exit status 1, that something is stale.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from jaxlab.training.publish import APART, completed, load_results
from jaxlab.training.report import filled, map_table, mapped, published_claims_table, summary_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
PAGE = """# Results: {family}

Written by `python docs/make_readme_table.py` from the published results in `results/{family}` and the texts beside
them. A row a claim. Headlines and gates (premise, room) are decided by their 95 % interval, the others by the
Holm-adjusted one, which is then the interval shown. A star: the headline passes Benjamini and Hochberg at 0.05 over all
headlines of the library. "Before" is what the result said that this one replaces. A gate "the last fifth changes
little" is passed easily where the rate falls by a cosine; a run at four times the steps (`:long`) is the harder test,
and few results have one yet. What the words mean: [architecture](../architecture.md#verdicts).

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
    shown = {name: found for name, found in results.items() if found["variant"] not in APART}
    wanted[readme] = updated(readme.read_text(), summary_table(shown))
    for family in sorted({name.partition("/")[0] for name in shown}):
        own = {name: found for name, found in shown.items() if name.startswith(f"{family}/")}
        parts = [section(root, name, found, results.get(f"{name}-map")) for name, found in own.items()]
        wanted[root / "docs" / "results" / f"{family}.md"] = PAGE.format(family=family) + "\n".join(parts)
    return wanted


def section(root: pathlib.Path, name: str, result: Mapping[str, Any], over: Mapping[str, Any] | None) -> str:
    """What people wrote about a result, with its numbers, one heading lower; then its claims, and its map if any."""
    page = root / "results" / f"{name}.md"
    text = "#" + filled(page.read_text(), result) if page.exists() else f"## {name}\n"
    scale, minutes = result.get("scale", ""), result["wall_s"] / 60
    unknown = "; published from code that was not committed" if result.get("code") == "unknown" else ""
    source = f"`{name}`: {scale}; {len(result['seeds'])} seeds, {minutes:.1f} minutes{unknown}."
    maps = [f"{claim}:\n\n{map_table(over, claim)}\n" for claim in mapped(over)] if over else []
    return "\n".join([text, source, "", published_claims_table(result), "", *maps])


def main(argv: list[str]) -> int:
    """0 when all files are, or were brought, up to date; 1 when `--check` finds one stale."""
    stale = {
        path: text for path, text in files(ROOT).items() if not path.exists() or path.read_text() != text
    }
    if "--check" in argv:
        return int(bool(stale))
    for path, text in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
