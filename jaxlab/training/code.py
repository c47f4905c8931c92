"""The code that a run trains with: kept beside its results, and compared before the run goes on."""

import ast
import io
import pathlib
import sys
import zipfile
from collections.abc import Mapping, Sequence

from jaxlab.core.check import InputError


def sources(packages: Sequence[str] = ("jaxlab", "experiments")) -> dict[str, str]:
    """The text of every Python file of these packages, as far as they are imported, by path such as "jaxlab/core/x.py".

    Args:
      packages: names of top-level packages, or of modules that are one file.
    """
    found = {}
    for name in packages:
        module = sys.modules.get(name)
        if module is not None and not hasattr(module, "__path__"):
            path = pathlib.Path(module.__file__)
            found[path.name] = path.read_text(errors="replace")
        for folder in map(pathlib.Path, getattr(module, "__path__", ())):
            for path in sorted(folder.rglob("*.py")):
                found[path.relative_to(folder.parent).as_posix()] = path.read_text(errors="replace")
    return found


def pack(files: Mapping[str, str]) -> bytes:
    """The files as a zip archive, the same bytes for the same files."""
    with io.BytesIO() as archive:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for name, text in sorted(files.items()):
                made.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        return archive.getvalue()


def unpack(archive: bytes) -> dict[str, str]:
    """The inverse of `pack`.

    Raises:
      ValueError: it is not such an archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as made:
            return {name: made.read(name).decode() for name in made.namelist()}
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise InputError(f"not an archive of sources: {error}") from None


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files that compute something else: comments, docstrings and layout do not count.

    A file that only one of the two has counts.

    Args:
      before, now: from `sources`.

    >>> changed({"a.py": "x = 1", "b.py": "y = 1"}, {"a.py": "x = 1  # one", "b.py": "y = 2"})
    ['b.py']
    """
    names = sorted(before.keys() | now.keys())
    return [
        name
        for name in names
        if before.get(name) != now.get(name) and _differ(before.get(name), now.get(name))
    ]


def _differ(before: str | None, now: str | None) -> bool:
    if before is None or now is None:
        return bool((before or now or "").strip())
    try:
        return _meaning(before) != _meaning(now)
    except SyntaxError:
        return True


def _meaning(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
