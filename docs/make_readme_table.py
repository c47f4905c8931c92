"""Write the published results into README.md; with `--check` only say, by exit status 1, that they are stale."""

import pathlib
import sys

from jaxlab.training.report import load_results, summary_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def updated(text: str, table: str) -> str:
    """The text with the table between its two markers."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md must hold {BEGIN} and, after it, {END}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main(argv: list[str]) -> int:
    """0 when the README is, or was brought, up to date; 1 when `--check` finds it stale."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    new = updated(text, summary_table(load_results(ROOT / "results")))
    if "--check" in argv:
        return int(new != text)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
