"""Reading a config: a file, its variant, and flags over it; every mistake is one line that teaches."""

import ast
import importlib
import importlib.util
import math
import pathlib
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs._comparison import select
from jaxlab.core import InputError
from jaxlab.training import Plan
from jaxlab.training.mesh import seed_devices
from jaxlab.training.workdir import suggest

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list a,b,c",
}


OF_FILES = {"path": "", "pool": 1, "size": 0, "channels": 0}  # see `experiments.parts.images`
HOME = pathlib.Path(__file__).resolve().parents[1]  # has experiments, configs and results side by side


class Loaded(NamedTuple):
    """A config with the name and variant it goes by, and the module it came from."""

    config: ConfigDict
    name: str
    variant: str
    module: types.ModuleType


def load(where: str, overrides: Sequence[str] = (), arms: Sequence[str] = ()) -> Loaded:
    """Load `path.py[:variant]`, or one of ours by its name, and apply flags `--config.key=value`.

    With `arms`, all others are left out, and the claims that speak of them.

    Raises:
      InputError: no such file or variant, a key that the config lacks, a value of the wrong type.
    """
    called, _, variant = where.partition(":")
    path = find_config(called)
    module = load_module(path)
    base = _get(module, path, variant)
    _add_source_keys(base, overrides)
    for flag in overrides:
        _check_override(flag, base)
    _apply(base, overrides)
    if arms:
        keep_arms(base, arms)
    return Loaded(base.lock(), name_of(path), variant or "default", module)


def shipped_configs() -> dict[str, str]:
    """The configs that come with the library: a path from here by name, such as "distillation/pld"."""
    here = pathlib.Path.cwd()
    files = sorted((HOME / "configs").glob("[!_]*/[!_]*.py"))
    return {
        name_of(str(path)): str(path.relative_to(here) if here in path.parents else path) for path in files
    }


def find_config(called: str) -> str:
    """The path of a config: a file, or one of ours by its name, "distillation/pld" or "pld".

    Raises:
      InputError: there is none, or several have the name.
    """
    if pathlib.Path(called).is_file():
        return called
    known = shipped_configs()
    found = [name for name in known if called in (name, short_name(name), f"configs/{name}.py")]
    if len(found) > 1:
        raise InputError(f"{called} may be {' or '.join(found)}")
    if not found:
        written = known.values() if called.endswith(".py") else [*known, *map(short_name, known)]
        raise InputError(f"no config file {called}{suggest(called, list(written))}")
    return known[found[0]]


def short_name(name: str) -> str:
    """Without the family."""
    return name.rpartition("/")[2]


def load_module(path: str) -> types.ModuleType:
    """Import a config file by path."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise InputError(f"no config file {path}")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not hasattr(module, "get_config"):
        raise InputError(f"{path} has no get_config(variant)")
    return module


def name_of(path: str) -> str:
    """The config's name: "distillation/pld" for configs/distillation/pld.py."""
    file = pathlib.Path(path).absolute()
    return f"{file.parent.name}/{file.stem}"


def keep_arms(config: ConfigDict, names: Sequence[str]) -> None:
    """Leave out all other arms.

    Raises:
      InputError: no arm has the name, or a task would be left without arms.
    """
    parts = {"": config} | dict(config.get("tasks", {}))
    arms = {task: list(part.arms) for task, part in parts.items() if part.get("arms")}
    known = sorted({name for own in arms.values() for name in own})
    for name in names:
        if name not in known:
            raise InputError(f"--arms names {name!r}{suggest(name, known)}")
    for task, own in arms.items():
        if not set(own) & set(names):
            raise InputError(f"--arms leaves the task {task} without arms: it has {', '.join(own)}")
    with config.unlocked():
        select(config, "arms", tuple(names))


def plan_of(config: ConfigDict) -> Plan:
    """The engine's part of a config; `mesh.seed = 0` stands for those that the seeds use best."""
    if config.seeds < 1:
        raise InputError(f"config.seeds is {config.seeds}: at least 1 seed is needed")
    mesh = config.mesh.to_dict()
    if mesh["seed"] == 0:
        mesh["seed"] = seed_devices(config.seeds, others=max(mesh["data"] * mesh["model"], 1))
    return Plan(
        seeds=tuple(range(config.first_seed, config.first_seed + config.seeds)),
        log_every=config.log_every,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        checkpoint_minutes=config.get("checkpoint_minutes") or None,
        seeds_by=config.seeds_by,
        mesh=mesh,
    )


def keys_of(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Every key with a dot for each level, and its value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= keys_of(value, f"{name}.") if isinstance(value, ConfigDict) else {name: value}
    return found


def _get(module: types.ModuleType, path: str, variant: str) -> ConfigDict:
    known = getattr(module, "VARIANTS", None)
    if variant and known is not None and variant not in known:
        raise InputError(f"{path} has no variant {variant!r}; known: {', '.join(known) or 'none'}")
    return module.get_config(variant or None)


def _add_source_keys(base: ConfigDict, overrides: Sequence[str]) -> None:
    """What a flag says of images of the user's, beside `source`, though the config's own source has no such key."""
    for flag in overrides:
        parent, _, key = flag.removeprefix("--config.").partition("=")[0].rpartition(".")
        known = keys_of(base)
        if key in OF_FILES and f"{parent}.source" in known and f"{parent}.{key}" not in known:
            base.update_from_flattened_dict({f"{parent}.{key}": OF_FILES[key]})


def _check_override(flag: str, base: ConfigDict) -> None:
    name, equals, value = flag.removeprefix("--config.").partition("=")
    if not equals:
        raise InputError(f"{flag} has no value: write --config.{name}=VALUE")
    known = keys_of(base)
    if name not in known:
        raise InputError(f"the config has no key {name!r}{suggest(name, list(known))}")
    wanted = type(known[name]).__name__
    if wanted in ("int", "float"):
        try:
            number = {"int": int, "float": float}[wanted](value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"config.{name} is {value!r}: it must be {KINDS[wanted]}")
        _check_range(name, number)


def _check_range(name: str, number: float) -> None:
    """Counts and sizes are not negative and fit into 32 bits, as do seeds without a sign; nor are rates and norms."""
    bits = 32 if name.endswith("seed") else 31
    if isinstance(number, int) and not 0 <= number < 2**bits:
        raise InputError(f"config.{name} is {number}: it must be at least 0 and below 2**{bits}")
    if number < 0 and name.endswith(("rate", "decay", "norm")):
        raise InputError(f"config.{name} is {number}: it must be at least 0")


def _apply(base: ConfigDict, overrides: Sequence[str]) -> None:
    for flag in overrides:
        name, _, value = flag.removeprefix("--config.").partition("=")
        before = keys_of(base)[name]
        if isinstance(before, tuple):
            base.update_from_flattened_dict({name: _tuple(name, value, before)})
            continue
        values, argv = flags.FlagValues(), ["run", flag]
        try:
            config_flags.DEFINE_config_dict("config", base, flag_values=values, sys_argv=argv)
            values(argv)
        except (flags.Error, TypeError, ValueError):
            wanted = KINDS.get(type(before).__name__, "of the type it has")
            raise InputError(f"config.{name} is {value!r}: it must be {wanted}") from None


def _tuple(name: str, text: str, before: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list as it is typed, `a,b` or `(1, 2)` or `["a", "b"]`, of entries like those that it replaces."""
    kinds = {type(entry) for entry in before}
    if name == "claims" and text.strip() not in ("", "()"):
        raise InputError(
            f"config.claims is {text!r}: claims are written in the config's file; --config.claims=() leaves them out"
        )
    try:
        found = ast.literal_eval(text) if text.strip() else ()
        entries = tuple(found) if isinstance(found, tuple | list) else (found,)
    except (ValueError, SyntaxError):
        entries = None
    # Words need no quotes, and what looks like a number is a word where words stood before.
    if kinds <= {str} and (entries is None or kinds - {type(entry) for entry in entries}):
        split = (word.strip().strip("'\"") for word in text.strip().strip("()[]").split(","))
        return tuple(word for word in split if word)
    if kinds <= {int, float} and float in kinds and entries is not None:
        entries = tuple(float(entry) if type(entry) is int else entry for entry in entries)
    if entries is None or (kinds and not {type(entry) for entry in entries} <= kinds | {type(None)}):
        named = {int: "whole numbers", float: "numbers", bool: "True or False", str: "words", tuple: "lists"}
        of = " or ".join(sorted(named.get(kind, kind.__name__) for kind in kinds))
        raise InputError(f"config.{name} is {text!r}: it must be {KINDS['tuple']} of {of}")
    return entries
