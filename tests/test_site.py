"""The pages: built with warnings as errors, whole, with links that lead somewhere, and as a browser shows them."""

import collections
import html.parser
import importlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zlib

import pytest

import jaxlab
from experiments._config import load_module, shipped_configs

ROOT = pathlib.Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def site(monkeypatch):
    """Imports a module of docs/site."""
    monkeypatch.syspath_prepend(str(SITE))
    yield importlib.import_module
    for path in SITE.glob("*.py"):
        sys.modules.pop(path.stem, None)


DOC = """A loss, per example.

It is convex.

    L = sum_k w_k

Args:
  logits: `[..., C]`, any
    finite size.
  where: which count.

Returns:
  `[...]` nats.

Reference:
  Someone, PLD: A Choice, 2025.

>>> 1 + 1
2
"""


def test_a_docstring_becomes_markdown(site):
    docstrings = site("docstrings")
    text = docstrings.markdown(DOC)
    assert "It is convex.\n\n```text\nL = sum_k w_k\n```" in text
    assert "**Args**\n\n- `logits`: `[..., C]`, any finite size.\n- `where`: which count." in text
    assert text.endswith("```pycon\n>>> 1 + 1\n2\n```")
    assert docstrings.equation(DOC) == "L = sum_k w_k"


def test_names_that_people_search_for_are_there(site):
    docstrings, names = site("docstrings"), site("names")
    known = {one.path for room in docstrings.rooms() for one in docstrings.public(room)}
    assert {path for paths in names.SEARCHED.values() for path in paths} <= known | set(sys.modules)
    assert {"FlexMatch", "FreeMatch", "GRPO"} <= set(names.SEARCHED)


def test_a_paper_finds_the_functions_that_cite_it(site):
    docstrings, papers = site("docstrings"), site("papers")
    names = docstrings.public("jaxlab.distillation")
    found = papers.functions_of("PLD: A Choice-Theoretic List-Wise Knowledge Distillation (2025)", "", names)
    assert found[0].name == "pld_loss"
    assert "dkd_loss" not in {one.name for one in found}


def test_totals_count_the_headlines_of_what_stands_alone(site):
    papers = site("papers")

    def published(config, variant, *claims):
        kinds = [{"kind": kind, "verdict": verdict, "fragile": []} for kind, verdict in claims]
        return {"config": config, "variant": variant, "claims": kinds}

    yes, no, gate = ("headline", "supported"), ("headline", "undecided"), ("premise", "supported")
    results = {
        "distillation/pld": published(
            "distillation/pld", "default", yes, no, gate, ("secondary", "opposite")
        ),
        "distillation/pld-fashion": published("distillation/pld", "fashion", no),
        "distillation/pld-long": published("distillation/pld", "long", yes, yes),
        "distillation/pld-tune": published("distillation/pld", "tune", yes),
        "distillation/pld-fashion-tune": published("distillation/pld", "fashion-tune", yes),
        "distillation/dhkd": published("distillation/dhkd", "default", ("headline", "not tested")),
        "continual/hpcr": published("continual/hpcr", "default", yes, ("headline", "withdrawn")),
    }
    written = papers.totals(papers.papers(results, {key: {} for key in results}, [])).splitlines()
    head, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written if "--" not in line]
    told = {
        row[0]: {word: int(count) for word, count in zip(head[1:], row[1:]) if count != "0"} for row in rows
    }
    assert told["distillation"] == {
        "papers": 2,
        "headlines": 4,
        "supported": 1,
        "undecided": 2,
        "not tested": 1,
    }
    assert told["continual"] == {"papers": 1, "headlines": 2, "supported": 1, "withdrawn": 1}
    assert told["merging"] == {}
    assert told["all"] == {
        "papers": 3,
        "headlines": 6,
        "supported": 2,
        "undecided": 2,
        "not tested": 1,
        "withdrawn": 1,
    }


def test_totals_of_what_is_published_leave_no_headline_out(site, monkeypatch):
    papers, publish = site("papers"), importlib.import_module("jaxlab.training.publish")
    monkeypatch.chdir(ROOT)
    results = publish.completed(publish.load_results(ROOT / "results"))
    found = papers.papers(results, {key: {} for key in results}, [])
    expected = collections.Counter()
    for path in (ROOT / "results").glob("*/*.json"):
        if re.search(r"(-long|-map|tune|-smoke|\.curves)$", path.stem):
            continue
        kinds = [claim["kind"] for claim in json.loads(path.read_text())["claims"]]
        expected[path.parent.name] += kinds.count("headline")
    rows = [row.split("|")[1:-1] for row in papers.totals(found).splitlines()[2:-1]]
    assert {row[0].strip(): int(row[2]) for row in rows} == dict(expected)
    assert all(sum(map(int, row[3:])) == int(row[2]) for row in rows)  # no verdict without a column


def test_pictures_are_drawn_of_what_there_is(site, tmp_path):
    pictures = site("pictures")
    claim = {"text": "a beats b", "kind": "headline", "metric": "m", "sesoi": 0.01, "verdict": "supported"}
    claim |= {"effect": 0.1, "ci95": [0.0, 0.2], "fragile": []}
    assert pictures.verdicts(tmp_path / "v.svg", [claim, claim | {"effect": None}])
    assert not pictures.verdicts(tmp_path / "n.svg", [claim | {"verdict": "withdrawn"}])
    means = {"loss": [2.0, 1.0], "val/x": [0.1, None]}
    curves = {"t/a": [{"steps": [1, 2], "mean": means, "half": {"loss": [0.1, 0.1]}}]}
    panels = pictures.curve_panels(curves)
    assert [key for key, _ in panels] == [("t", "val/x"), ("t", "loss")]
    pictures.curves(tmp_path / "c.svg", panels)
    pictures.thumbnail(tmp_path / "t.png", panels, [])
    assert {path.name for path in tmp_path.iterdir()} == {"v.svg", "c.svg", "t.png"}
    assert "a beats b" in (tmp_path / "v.svg").read_text()


def test_every_paper_can_be_cited_and_so_can_the_software(site):
    assert site("references").main(["--check"]) == 0, "run: python docs/site/references.py"
    cited = set(re.findall(r"eprint = \{([\d.]+)\}", (ROOT / "docs" / "references.bib").read_text()))
    papers = [load_module(path).get_config(None).paper for path in shipped_configs().values()]
    assert cited == {number for paper in papers for number in re.findall(r"arXiv\s+([\d.]+)", paper)[:1]}
    authors = site("authors")
    assert {*authors.AUTHORS, *authors.TITLES} <= cited
    assert len(authors.AUTHORS) >= 0.85 * len(cited)
    software = (ROOT / "CITATION.cff").read_text()
    assert f"version: {jaxlab.__version__}\n" in software
    assert "license: Apache-2.0\n" in software


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of the built site."""
    pytest.importorskip("sphinx_book_theme")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, SITE / "build.py", folder]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.wide
def test_every_public_name_has_an_entry(pages, site):
    docstrings = site("docstrings")
    text = zlib.decompress((pages / "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]).decode()
    entries = {line.split()[0] for line in text.splitlines()}
    public = [one.path for room in docstrings.rooms() for one in docstrings.public(room)]
    assert len(public) > 500
    assert [path for path in public if path not in entries] == []


@pytest.mark.wide
def test_every_paper_has_a_page_and_a_published_one_its_pictures(pages):
    for name in shipped_configs():
        page = (pages / "papers" / f"{name}.html").read_text()
        if (ROOT / "results" / f"{name}.json").exists():
            claims = json.loads((ROOT / "results" / f"{name}.json").read_text())["claims"]
            drawn = [one for one in claims if one["effect"] is not None and one["verdict"] != "withdrawn"]
            assert ("-default-verdicts.svg" in page) == bool(drawn), name
            assert "What was tested" in page
    index = (pages / "papers" / "index.html").read_text()
    assert "https://arxiv.org/abs/2506.12542" in index


class Links(html.parser.HTMLParser):
    """What a page leads to, and the places in it that can be led to."""

    def __init__(self, text):
        super().__init__()
        self.to, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        self.to += [found[key] for key in ("href", "src") if found.get(key)]


@pytest.mark.wide
def test_links_lead_somewhere(pages):
    theirs = pages / "_static"  # the theme's own files
    read = {path: Links(path.read_text()) for path in pages.rglob("*.html") if theirs not in path.parents}
    assert len(read) > 80
    broken = []
    for path, links in read.items():
        for link in links.to:
            target, _, place = link.partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            known = read.get(there)
            if not there.exists() or (place and known and place not in known.ids and there != path):
                broken.append(f"{path.relative_to(pages)}: {link}")
    assert broken == []


FILES = "--allow-file-access-from-files"  # the search reads its index beside the page


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven by playwright."""
    driver, found = pytest.importorskip("playwright.sync_api"), shutil.which("chromium")
    if not found:
        pytest.skip("no chromium here: apt-get install chromium")
    with driver.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", FILES])
        yield started
        started.close()


SHOWN = ("index", "start", "papers/index", "papers/gallery", "papers/distillation/pld", "api/jaxlab.distillation",
         "docs/own_project")  # fmt: skip


@pytest.mark.wide
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_load_without_an_error_and_fit_their_window(pages, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    for name in SHOWN:
        page.goto((pages / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.locator("article h1").count() == 1, name
    assert errors == []


@pytest.mark.wide
def test_search_finds_a_paper_and_a_name_and_tables_sort(pages, browser):
    page = browser.new_page()
    for words, expected in (
        ("Plackett-Luce", "papers/distillation/pld.html"),
        ("FlexMatch", "api/searched.html"),
    ):
        page.goto((pages / "search.html").as_uri() + f"?q={words}")
        page.locator(f"#search-results a[href*='{expected}']").first.wait_for(timeout=30_000)
    page.goto((pages / "papers/index.html").as_uri())
    table = page.locator("article table").first
    minutes = lambda: [float(text) for text in table.locator("tbody tr td:last-child").all_inner_texts()]
    table.locator("th").last.click()
    assert minutes() == sorted(minutes())
    table.locator("th").last.click()
    assert minutes() == sorted(minutes(), reverse=True)
