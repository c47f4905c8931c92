"""The notebooks run from top to bottom, from the repository's root and from their own folder, and come out sensible."""

import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

from jaxlab.training.verdicts import table_verdict

ROOT = pathlib.Path(__file__).resolve().parents[1]
GUIDES = ("a_loss", "a_pod", "dialects", "reading_a_verdict", "your_data_and_model")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def printed(notebook: nbformat.NotebookNode) -> str:
    """Everything the cells wrote to standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    )


@pytest.mark.wide
@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_quickstart_runs_and_says_what_it_should(folder, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    stored = printed(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / folder)}}).execute()
    text = printed(notebook)
    assert form(stored).partition("pld beats ce")[0] == form(text).partition("pld beats ce")[0]
    assert "pld [0.676" in text
    assert "gradient to the teacher\n [[0. 0. 0.]\n [0. 0. 0.]]" in text
    students = {name: float(value) for name, value in re.findall(r"^(ce|pld): (0\.\d+)$", text, re.MULTILINE)}
    assert students.keys() == {"ce", "pld"}
    assert all(0.5 < value < 1 for value in students.values())
    *numbers, verdict = re.search(
        r"^pld beats ce: (\S+) \[(\S+), (\S+)\], ([\w ]+)$", text, re.MULTILINE
    ).groups()
    effect, low, high = map(float, numbers)
    assert low < effect < high
    assert effect == pytest.approx(students["pld"] - students["ce"], abs=0.0011)
    assert verdict == table_verdict("greater", effect, low, high, 0.01)


@pytest.mark.wide
def test_rlvr_in_one_jit_learns_both_ways(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    notebook = nbformat.read(ROOT / "notebooks" / "rlvr_in_one_jit.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    text = printed(notebook)
    curves = dict(re.findall(r"^(.+): (\d\.\d\d -> .+)$", text, re.MULTILINE))
    assert curves.keys() == {"by hand, GRPO", "rlvr_learner, best of a group"}
    for seeds in curves.values():
        rewards = [[float(value) for value in seed.split(" -> ")] for seed in seeds.split(", ")]
        assert len(rewards) == 2
        assert all(first + 0.08 < last <= 1 for first, last in rewards)
    shown = re.findall(r"^ +(\d{4}): (\d*)…? (right|wrong)$", text, re.MULTILINE)
    assert len(shown) == 12
    assert all(("".join(sorted(prompt)) == answer) == (mark == "right") for prompt, answer, mark in shown)


@pytest.mark.wide
@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_says_what_it_said(name, monkeypatch):
    """Words and layout, as numbers differ from machine to machine."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    stored = printed(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    assert form(printed(notebook)) == form(stored)


def form(text: str) -> str:
    """A text without its numbers and their widths, which differ from machine to machine."""
    return " ".join(re.sub(r"[-+]?\d+(\.\d*)?", "#", text).split())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_with_what_it_said(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source.startswith("import")
    assert all(not re.search(r"^(import|from) ", cell.source, re.MULTILINE) for cell in code[1:])
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.outputs for cell in code if "print(" in cell.source or "show()" in cell.source)
    assert {output.output_type for cell in code for output in cell.outputs} <= {
        "stream", "display_data", "execute_result",
    }  # fmt: skip
    assert "stderr" not in {output.get("name") for cell in code for output in cell.outputs}
    said = path.read_text()
    assert len(said) < 400_000
    assert not re.search(r"/(home|root|work|tmp|Users)/", said), "a path of the machine that ran it"
