"""Run a comparison from its config: `python -m experiments.run --config=configs/distillation/pld.py`.

Exit status: 0 done; 1 code raised, as the traceback says; 2 something given is wrong or missing; 3 done, but an arm
diverged; 74 the disk or a download failed; 75 asked to stop (SIGTERM, Ctrl-C): saved, and the same command with the
same --workdir goes on.
"""

import argparse
import datetime
import json
import os
import pathlib
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments._config import Loaded, load, plan_of
from experiments._driver import build, find_driver, packages_of
from experiments._listing import listing
from jaxlab import training
from jaxlab.core import InputError, MachineError
from jaxlab.training import Experiment, Plan, Workdir, preemption, report
from jaxlab.training.cache import enable_compilation_cache
from jaxlab.training.dry_run import dry_run
from jaxlab.training.mesh import initialize_distributed, make_mesh, spread_over_cores
from jaxlab.training.metrics import read_rows
from jaxlab.training.provenance import commit
from jaxlab.training.publish import publish
from jaxlab.training.run import PreemptedRun

PROG = "python -m experiments.run"
RUNS = pathlib.Path("runs")
RESULTS = pathlib.Path("results")
WRONG_INPUT, DIVERGED, MACHINE_FAILED = 2, 3, 74  # 74 and 75 are EX_IOERR and EX_TEMPFAIL of sysexits.h


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Parse the command line, do what it says, return the exit status.

    Args:
      argv: its words.
      prog: what stands before them.
    """
    argv = list(sys.argv[1:] if argv is None else argv)

    def action() -> int:
        args, overrides = _parse(argv, prog)
        if args.list:
            show(listing("" if args.list is True else args.list))
            return 0
        return _start(args, overrides, f"{prog} {shlex.join(_again(argv))}")

    return answered(action, argv)


def answered(action: Callable[[], int], argv: Sequence[str]) -> int:
    """The exit status of an action. What the library says of input or machine is one line.

    All else that is raised goes through, so that Python shows where it comes from and exits with 1.
    """
    try:
        return action()
    except (InputError, MachineError) as error:
        if "--traceback" in argv:
            traceback.print_exception(error)
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return MACHINE_FAILED if isinstance(error, MachineError) else WRONG_INPUT


def _again(argv: list[str]) -> list[str]:
    """The words that go on with a run."""
    return [word for word in argv if not word.startswith("--fresh")]


def _parse(argv: list[str], prog: str = PROG) -> tuple[argparse.Namespace, list[str]]:
    parser = _Parser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="Any key of the config is a flag: --config.seeds=20 --config.mesh.data=4. The keys are in its file.",
    )
    add = parser.add_argument
    add("--config", metavar="FILE[:VARIANT]", help="configs/<family>/<paper>.py, with :smoke, :paper, ...")
    add("--arms", metavar="A,B", help="run these arms alone; others may follow in the same --workdir")
    add("--workdir", type=pathlib.Path, help="where the run lives; default runs/<config>-<time>")
    add(
        "--resume",
        action="store_true",
        help="go on with what is there; without --workdir, the newest such run",
    )
    add("--fresh", action="store_true", help="remove what an earlier run left in --workdir and begin again")
    add("--accept_code", action="store_true", help="go on in a --workdir that other code has trained in")
    add(
        "--publish",
        action="store_true",
        help="write the result and its curves to results/<family>/<paper>.json; asks for a clean commit",
    )
    add("--dry_run", action="store_true", help="print arms, steps, parameters and memory; train nothing")
    add("--list", nargs="?", const=True, metavar="PAPER", help="all papers, a line each, or all of one")
    add(
        "--track",
        metavar="A,B",
        default="",
        help="also tell tensorboard, wandb or trackio, in folders of the workdir",
    )
    add("--tensorboard", action="store_true", help="short for --track=tensorboard")
    add(
        "--download",
        action="store_true",
        help="allow fetching the data sets that the config names (checksummed)",
    )
    add("--traceback", action="store_true", help="show where in the code an error line comes from")
    args, rest = parser.parse_known_args(argv)
    overrides = [flag for flag in rest if flag.startswith("--config.")]
    unknown = [flag for flag in rest if flag not in overrides]
    if unknown:
        flags = [option for action in parser._actions for option in action.option_strings]
        name = unknown[0].partition("=")[0]
        raise InputError(f"unknown argument {unknown[0]!r}{training.workdir.suggest(name, flags)}")
    if not args.list and not args.config:
        raise InputError("--config=configs/<family>/<paper>.py is missing; --list shows them all")
    if args.resume and args.fresh:
        raise InputError("--resume and --fresh contradict each other")
    if args.arms and args.publish:
        raise InputError("--publish needs all arms: leave out --arms")
    return args, overrides


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise InputError(message)


def _start(args: argparse.Namespace, overrides: list[str], again: str) -> int:
    loaded = load(args.config, overrides, _words(args.arms))
    if args.publish:
        _refuse_unknown_code(commit())
    enable_compilation_cache()
    warnings.showwarning = _warn
    spread_over_cores()
    initialize_distributed()
    plan = plan_of(loaded.config)
    make_mesh(plan.mesh)
    driver = find_driver(loaded)
    tasks = build(driver, loaded.config, args.download)
    if args.dry_run:
        show(dry_run(tasks, plan))
        return 0
    described = {
        "config": loaded.name,
        "variant": loaded.variant,
        **json.loads(loaded.config.to_json_best_effort()),
    }
    workdir = Workdir(_choose(args, loaded, described), described)
    try:
        with workdir.opened(fresh=args.fresh):
            return _run(args, loaded, tasks, plan, workdir, packages_of(driver, loaded.config), again)
    except MachineError as error:
        raise MachineError(
            f"{error}; earlier checkpoints are intact, and the same command goes on from them"
        ) from error


def _refuse_unknown_code(found: str | None) -> None:
    """A published result names the commit that anybody can run again."""
    if found is None:
        raise InputError("--publish needs a git checkout: a result names the commit it comes from")
    if found.endswith("-dirty"):
        raise InputError(
            "--publish needs a clean tree: commit what has changed, also new files, and run again"
        )


def _choose(args: argparse.Namespace, loaded: Loaded, described: dict[str, Any]) -> pathlib.Path:
    variant = "" if loaded.variant == "default" else f"-{loaded.variant}"
    stem = loaded.name.replace("/", "-") + variant
    if args.workdir:
        if args.resume and not (args.workdir / "config.json").exists():
            raise InputError(f"nothing to resume in {args.workdir}: no run there yet")
        return args.workdir
    if jax.process_count() > 1:
        raise InputError("a run of several processes needs a --workdir that all of them see")
    if args.resume:
        wanted = Workdir(RUNS, described).identity
        for path in sorted(RUNS.glob("*/config.json"), key=lambda path: path.stat().st_mtime, reverse=True):
            if Workdir(path.parent, json.loads(path.read_text())).identity == wanted:
                return path.parent
        raise InputError(f"nothing to resume: no run of this config under {RUNS}/")
    return RUNS / f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _run(
    args: argparse.Namespace,
    loaded: Loaded,
    tasks: Mapping[str, Experiment],
    plan: Plan,
    workdir: Workdir,
    packages: tuple[str, ...],
    again: str,
) -> int:
    main_process = jax.process_index() == 0
    say = lambda line: print(line, file=sys.stderr) if main_process else None
    try:
        with preemption.watch() as stop:
            result = training.run(
                tasks, plan, workdir, name=loaded.name, variant=loaded.variant, scale=loaded.config.get("scale", ""),
                notes=_notes(loaded.config), stop=stop, track=_tracked(args), accept_code=args.accept_code,
                packages=packages, say=say,
            )  # fmt: skip
    except PreemptedRun as error:
        say(
            f"{error}. To go on: {again}"
            + ("" if args.workdir else f" --workdir={shlex.quote(str(workdir.path))}")
        )
        return preemption.EXIT_CODE
    if main_process:
        _show(result, workdir)
        if args.publish:
            _publish(result, workdir)
    return DIVERGED if any("diverged" in arm for arm in result["arms"].values()) else 0


def _tracked(args: argparse.Namespace) -> list[str]:
    """Who is told of the run, by name."""
    named = [*_words(args.track), *(["tensorboard"] if args.tensorboard else [])]
    return list(dict.fromkeys(named))


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").split(",") if word]


def _notes(config: ConfigDict) -> dict[str, Any]:
    """What a config says of its result: the condition of a map, the edges that its search could have gone beyond."""
    notes = {"edges": list(config.open_edges)} if config.get("open_edges") else {}
    return notes | ({"map": config.map.to_dict()} if "map" in config else {})


def _show(result: dict[str, Any], workdir: Workdir) -> None:
    show(report.markdown(result))
    show(f"curves: {workdir.path / 'curves.png'}\nresult: {workdir.result}")


def _publish(result: dict[str, Any], workdir: Workdir) -> None:
    _refuse_unknown_code(result["commit"])  # the tree may have changed during the run
    variant = "" if result["variant"] == "default" else f"-{result['variant']}"
    target = RESULTS / f"{result['config']}{variant}.json"
    settings = {
        key: value for key, value in workdir.config.items() if key not in ("claims", "config", "variant")
    }
    publish(target, result, read_rows(workdir.metrics), settings=settings)
    show(f"published: {target}")


def _warn(
    message: Warning | str, category: type, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"warning: {message}", file=sys.stderr)


def show(text: str) -> None:
    """Print, though the reader may have left, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
