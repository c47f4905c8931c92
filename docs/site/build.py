"""Write the pages and make a site of them: `python docs/site/build.py [FOLDER]`, which is build/docs if none is given.

Sources come from docs/*.md, from the docstrings of every public name, and from configs and published results. They lie
in FOLDER/source as in the repository, so that links between its files hold; the site is FOLDER/html.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Sequence

SITE = pathlib.Path(__file__).resolve().parent
ROOT = SITE.parents[1]
sys.path[:0] = [str(ROOT), str(SITE)]

import docstrings  # noqa: E402, after the path
import papers  # noqa: E402
from docstrings import Public  # noqa: E402
from names import SEARCHED  # noqa: E402

from jaxlab.training.publish import completed, load_results  # noqa: E402
from jaxlab.training.report import filled  # noqa: E402

READ = ("docs", "docs/results")  # folders whose pages and pictures are part of the site


def write(source: pathlib.Path) -> None:
    """All sources of the site, in an empty folder."""
    _copy_pages(source)
    names = {room: docstrings.public(room) for room in docstrings.rooms()}
    _write_api(source / "api", names)
    _write_papers(source, [one for own in names.values() for one in own])
    for name in ("index.md", "start.md"):
        text = (SITE / name).read_text()
        (source / name).write_text(
            filled(text, completed(load_results(ROOT / "results"))["distillation/pld"])
        )


def _bring(new: pathlib.Path, old: pathlib.Path) -> None:
    """Make the old folder like the new one; what is the same stays as it is, so that Sphinx reads what has changed."""
    files = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for path in [path for path in old.rglob("*") if path.is_file() and path.relative_to(old) not in files]:
        path.unlink()
    for path in files:
        if not (old / path).exists() or (old / path).read_bytes() != (new / path).read_bytes():
            (old / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(new / path, old / path)


def _copy_pages(source: pathlib.Path) -> None:
    for folder in READ:
        (source / folder).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / folder).iterdir():
            if path.suffix == ".md":
                (source / folder / path.name).write_text(
                    path.read_text().replace("(../README.md", "(../start.md")
                )
            elif path.suffix in (".png", ".bib"):
                shutil.copy(path, source / folder)
    for name in ("notebooks", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "results").glob("*/*.json"):
        (source / "results" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / "results" / path.parent.name)
    shutil.copy(SITE / "conf.py", source)
    shutil.copytree(SITE / "static", source / "_static")


def _write_api(folder: pathlib.Path, names: dict[str, list[Public]]) -> None:
    folder.mkdir()
    for room, own in names.items():
        (folder / f"{room}.md").write_text(_room(room, own))
    rows = "\n".join(
        f"| [`{room}`]({room}.md) | {_first_line(room)} | {len(own)} |" for room, own in names.items()
    )
    pages = "\n".join(names)
    (folder / "index.md").write_text(
        "# API\n\nBy room; a room imports those below it and not its neighbours "
        "([architecture](../docs/architecture.md)).\n\n"
        f"| room | what it is | names |\n|---|---|---|\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\nsearched\n{pages}\n```\n"
    )
    (folder / "searched.md").write_text(_searched({one.path for own in names.values() for one in own}))


def _first_line(room: str) -> str:
    return (sys.modules[room].__doc__ or "").strip().splitlines()[0]


def _room(room: str, own: Sequence[Public]) -> str:
    sought: dict[str, list[str]] = {}
    for name, paths in SEARCHED.items():
        for path in paths:
            sought.setdefault(path, []).append(name)
    parts = [f"# {room}", docstrings.markdown(sys.modules[room].__doc__.strip())]
    for module in dict.fromkeys(one.module for one in own):
        here = [one for one in own if one.module == module]
        if module != room:
            parts += [f"## {module}", docstrings.markdown((sys.modules[module].__doc__ or "").strip())]
        also = lambda one: f" Also searched as: {'; '.join(sought[one.path])}." if one.path in sought else ""
        rows = [f"| {{py:obj}}`{one.name} <{one.path}>` | {_cell(one.line + also(one))} |" for one in here]
        parts += ["| name | what it is |\n|---|---|\n" + "\n".join(rows), *map(docstrings.directive, here)]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _searched(known: set[str]) -> str:
    """What people call it, and where it is."""
    unknown = [
        path for paths in SEARCHED.values() for path in paths if path not in known and not _module(path)
    ]
    if unknown:
        raise SystemExit(f"names.py names what there is not: {', '.join(unknown)}")
    where = lambda path: (
        f"[`{path}`]({path.rpartition('.')[0]}.md)" if _module(path) else f"{{py:obj}}`{path}`"
    )
    rows = [
        f"| {name} | {', '.join(map(where, paths))} |"
        for name, paths in sorted(SEARCHED.items(), key=_folded)
    ]
    return "# Names people search for\n\n| what it is called | here |\n|---|---|\n" + "\n".join(rows) + "\n"


def _folded(item: tuple[str, Sequence[str]]) -> str:
    return item[0].lower()


def _module(path: str) -> bool:
    return path in sys.modules


def _write_papers(source: pathlib.Path, names: Sequence[Public]) -> None:
    os.chdir(ROOT)
    published = completed(load_results(ROOT / "results"))
    curves = {}
    for name in published:
        path = ROOT / "results" / f"{name}.curves.json"
        curves[name] = json.loads(path.read_text()) if path.exists() else {}
    found = papers.papers(published, curves, names)
    for paper in found:
        papers.write(paper, source)
    (source / "papers" / "index.md").write_text(papers.index(found))
    (source / "papers" / "gallery.md").write_text(papers.gallery(found))
    for family in papers.families(found):
        own = [paper for paper in found if paper.family == family]
        (source / "papers" / f"{family}.md").write_text(papers.family_page(family, own))


def main(argv: Sequence[str]) -> int:
    """The exit status of Sphinx, for which a warning is an error."""
    from sphinx.cmd.build import build_main

    folder = pathlib.Path(argv[0]).resolve() if argv else ROOT / "build" / "docs"
    source, html = folder / "source", folder / "html"
    with tempfile.TemporaryDirectory() as new:
        write(pathlib.Path(new))
        _bring(pathlib.Path(new), source)
    status = build_main(["-W", "--keep-going", "-q", "-b", "html", str(source), str(html)])
    if status == 0:
        print(f"{html / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
