"""The console script `jaxlab`, which hands over to the experiments that come with the library."""

import importlib
import pathlib
import sys


def main() -> int:
    """Run the command; returns its exit status.

    An installation keeps `experiments`, `configs` and `results` in `jaxlab_shipped`, a checkout beside `jaxlab`. They
    are imported before the working directory can be: a folder of the user's with such a name hides nothing.
    """
    beside = pathlib.Path(__file__).resolve().parents[1]
    home = beside / "jaxlab_shipped"
    sys.path.insert(0, str(home if home.is_dir() else beside))
    try:
        for name in ("experiments", "configs"):
            importlib.import_module(name)
        command = importlib.import_module("experiments.command")
    finally:
        del sys.path[0]
    sys.path.insert(0, str(pathlib.Path.cwd()))  # a driver of the user's, as with python -m
    return command.main()
