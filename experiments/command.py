"""The command `jaxlab`: run a comparison, list those there are, show one, begin one of your own."""

import pathlib
import sys
from collections.abc import Callable, Sequence

import jaxlab
from experiments import run
from experiments._listing import listing, page_of
from experiments._new import write_new
from jaxlab.core import InputError
from jaxlab.training.workdir import suggest

USAGE = """usage: jaxlab COMMAND

  jaxlab run CONFIG[:VARIANT] [FLAGS]   run a comparison; jaxlab run --help has the flags
  jaxlab list                           those that come with the library: minutes, headline verdicts
  jaxlab show PAPER                     one of them: variants, claims, verdicts, what was found
  jaxlab new NAME                       begin a method of your own: three files in this folder

A CONFIG is a name, distillation/pld, or a file of yours; its `experiment` may be a module of yours by its dotted path:
  jaxlab run distillation/pld:smoke --config.seeds=2
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the words say; returns the exit status, as `experiments.run` has them."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if argv[0] == "--version":
        print(jaxlab.__version__)
        return 0
    name, *rest = argv
    if name == "run":
        return run.main(_named(rest), prog="jaxlab run")
    return run.answered(lambda: _command(name)(rest), argv)


def _command(name: str) -> Callable[[list[str]], int]:
    if name not in COMMANDS:
        raise InputError(f"there is no command {name!r}{suggest(name, ['run', *COMMANDS])}")
    return COMMANDS[name]


def _named(words: list[str]) -> list[str]:
    """The words of `experiments.run`: there the config is a flag."""
    if words and not words[0].startswith("-"):
        return [f"--config={words[0]}", *words[1:]]
    return words


def _list(words: list[str]) -> int:
    _expect(words, 0, "jaxlab list")
    run.show(listing())
    return 0


def _show(words: list[str]) -> int:
    _expect(words, 1, "jaxlab show PAPER")
    run.show("\n\n".join(filter(None, (listing(words[0]), page_of(words[0])))))
    return 0


def _new(words: list[str]) -> int:
    _expect(words, 1, "jaxlab new NAME")
    method, config, test = (path.name for path in write_new(words[0], pathlib.Path.cwd()))
    print(
        f"{method}: the method, and what is compared\n{config}: the comparison as data\n{test}: a test that can fail"
    )
    print(f"\nNext: jaxlab run {config}:smoke, and python -m pytest {test}")
    return 0


def _expect(words: list[str], count: int, usage: str) -> None:
    if len(words) != count or any(word.startswith("-") for word in words):
        raise InputError(f"write {usage}")


COMMANDS = {"list": _list, "show": _show, "new": _new}

if __name__ == "__main__":
    sys.exit(main())
