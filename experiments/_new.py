"""What `jaxlab new` writes: a method with its comparison, the config, and a test that can fail."""

import importlib.util
import keyword
import pathlib

from jaxlab.core import InputError

TEMPLATE = pathlib.Path(__file__).parent / "template"
EXAMPLE = "average_teacher"


def write_new(name: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """Write the three files of a new method; each does what the example does until it is changed.

    Args:
      name: of the method, a word that Python can import.
      folder: that gets `<name>.py`, `<name>_config.py` and `test_<name>.py`.

    Raises:
      InputError: no such word, a module that has the name already, or a file that is there.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(f"a method is called like a Python module, my_method for example, not {name!r}")
    files = {
        folder / path.name.replace(EXAMPLE, name): path.read_text().replace(EXAMPLE, name)
        for path in sorted(TEMPLATE.glob("*.py"))
    }
    for path in files:
        if path.exists():
            raise InputError(f"{path.name} is there already: nothing was written")
    if importlib.util.find_spec(name):
        raise InputError(f"Python has a module {name} already: call the method otherwise")
    for path, text in files.items():
        path.write_text(text)
    return list(files)
