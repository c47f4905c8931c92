"""A comparison written down as data, and the variants that follow from it.

    BASE    what a run is: driver, paper, data, nets, steps; what it leaves out is in DEFAULTS
    ARM     what an arm is unless it says otherwise; METHODS, what each arm is whatever its setting
    ARMS    the setting of every arm; of several tasks, where they differ, by task
    GRID    the settings that `:tune` tries, as many for every arm
    CLAIMS  what the run decides

    get_config, VARIANTS = comparison(BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, smoke={...})

A variant is a dict of changes, applied in order. Keys have a dot for each level and must exist; `*` stands for all that
is there; a function changes the old value. Tuples of names under `tasks` and `arms` leave out the others and the claims
that speak of them; BASE may name the arms of the default so, where others are for variants. `grid` makes an arm
`<arm>_<n>` of every setting.

tests/test_every_config.py compares ARMS with the published search, by the claims' metric on val or by JUDGE (after a
minus if lower is better). Where an arm does not have the best setting, WHY says why, `{arm: reason}`; where the best is
at an edge of its grid, EDGES does, `{arm or key or "*": reason}`.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

Settings = Mapping[str, Any]
Grid = Mapping[str, Sequence[Settings]]

DEFAULTS = {
    "scale": "toy",
    "minutes": 3.0,  # on two CPU cores
    "seeds": 8,
    "first_seed": 0,
    "seeds_by": "vmap",  # "map" takes one after the other: faster for convolutions on a CPU
    "mesh": {"seed": 0, "data": 1, "model": 1},  # seed 0: as many devices, or cores, as the seeds can use
    "log_every": 100,
    "eval_every": 500,
    "checkpoint_every": 500,
    "checkpoint_minutes": 0.0,  # above 0: also whenever so many minutes have passed since the last one
    "test": True,  # False keeps the test split out of the run
    "open_edges": (),  # "arm: key" where the search found the best at an edge that could be widened
}
SMOKE = {"minutes": 0.3, "seeds": 2, "log_every": 5, "eval_every": 10, "checkpoint_every": 10}
TUNE = {"seeds": 5, "first_seed": 1000, "test": False, "claims": ()}  # seeds that decide nothing else
TWO_VALUES = "two values were tried, so that the best of them is at an edge"


def comparison(
    base: Settings, arms: Settings, grid: Grid | None, claims: Sequence[Settings], *, metric: str, smoke: Settings,
    arm: Settings | None = None, methods: Settings | None = None, tune: Settings | None = None,
    long: Sequence[str] = (), map: tuple[str, str, Any] | None = None, variants: Settings | None = None,
) -> tuple[Callable[..., ConfigDict], tuple[str, ...]]:  # fmt: skip
    """The function `get_config` of a config, and the names of its variants.

    Args:
      base, arms, grid, claims, arm, methods: as above; without a grid there is no `:tune`.
      metric: of the claims that name no other.
      smoke, tune: changes that make a run of seconds, after SMOKE; changes of the search, after TUNE.
      long: keys of the steps of the arms, which `:long` takes four times.
      map: `(condition, "tasks.<name>.<key>", values)`: `:map` has the task once for each value; a dict has the numbers
        that stand for values that are none.
      variants: changes by name.
    """
    known = {"smoke": SMOKE | smoke}
    known |= {"tune": TUNE | {"grid": grid} | (tune or {})} if grid else {}
    known |= {"long": dict.fromkeys(("minutes", *long), lambda value: 4 * value)} if long else {}
    known |= ({"map": {"map": map}} if map else {}) | (variants or {})

    def get_config(variant: str | None = None) -> ConfigDict:
        """The comparison; `variant` is None or one of VARIANTS."""
        if variant not in (None, *known):
            raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(known)}")
        config, changes = copy.deepcopy({**DEFAULTS, **base, "claims": tuple(claims)}), known.get(variant, {})
        shown, tasks = config.pop("arms", None), config.get("tasks", {})
        if set(arms) == set(tasks):
            for name, task in tasks.items():
                task["arms"] = copy.deepcopy(arms[name])
        else:
            config["arms"] = copy.deepcopy(arms)
        first = {"arms": shown} if shown and not {"arms", "grid"} & set(changes) else {}
        _complete(config, arm or {}, methods or {})
        for key, value in (first | changes).items():
            change = {"grid": _search, "map": _map}.get(key, _put)
            (select if key in ("tasks", "arms") and isinstance(value, tuple) else change)(config, key, value)
            _complete(config, arm or {}, methods or {})
        own = lambda said: {} if "terms" in said else {"metric": metric}
        config["claims"] = tuple(own(said) | said for said in config["claims"])
        return ConfigDict(config)

    return get_config, tuple(known)


def grid(values: Mapping[str | tuple[str, ...], Sequence[Any]]) -> list[dict[str, Any]]:
    """Settings with every combination of values; the keys of a tuple change together.

    >>> grid({"rate": (1, 2), ("a", "b"): ((3, 4), (5, 6))})[1]
    {'rate': 1, 'a': 5, 'b': 6}
    """
    axes = [
        [dict(zip(key, row)) if isinstance(key, tuple) else {key: row} for row in rows]
        for key, rows in values.items()
    ]
    return [functools.reduce(lambda one, other: one | other, parts) for parts in itertools.product(*axes)]


def claim(kind: str, arm: str = "", versus: str | float = "", text: str = "", **more: Any) -> dict[str, Any]:
    """A claim, "arm beats versus" unless the text says otherwise; what else it takes: `jaxlab.training.Claim`.

    A metric other than the comparison's is in the name, and of the test split unless it names another; `tasks` are
    those that the claim is about, where not all are. A claim with `terms` has a name and a text, and no arm.
    """
    if "terms" in more:
        return {"kind": kind, "text": text, **more}
    name, metric = f"{arm}_over_{versus}", more.get("metric")
    if metric:
        name = f"{name}_{metric.rpartition('/')[2]}"
        more["metric"] = metric if "/" in metric else f"test/{metric}"
    said = {"name": name, "text": text or f"{arm} beats {versus}", "kind": kind, "arm": arm, "versus": versus}
    return said | more


KINDS = ("headline", "secondary", "ablation", "premise", "room", "benchmark")
headline, secondary, ablation, premise, room, benchmark = (functools.partial(claim, kind) for kind in KINDS)


def _all_arms(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arms of the config, with the prefix "", and those of its tasks."""
    parts = {"": config} | {f"{name}/": task for name, task in config.get("tasks", {}).items()}
    return {prefix: part["arms"] for prefix, part in parts.items() if "arms" in part}


def _complete(config: dict[str, Any], arm: Settings, methods: Settings) -> None:
    """Give every arm the settings that it does not name."""
    for arms in _all_arms(config).values():
        arms |= {name: _with({**arm, **methods.get(name, {})}, own) for name, own in arms.items()}


def _with(settings: Settings, changes: Settings) -> dict[str, Any]:
    changed = copy.deepcopy({**settings})
    for key, value in changes.items():
        _put(changed, key, value, new=True)
    return changed


def _put(tree: dict[str, Any], key: str, value: Any, *, new: bool = False) -> None:
    """Set what stands under a key with dots."""
    name, _, rest = key.partition(".")
    if name == "*":
        for child in tree.values():
            _put(child, rest, value, new=new)
    elif name not in tree and not new:
        raise ValueError(f"there is no {name!r} to change: the keys are {', '.join(tree)}")
    elif rest:
        _put(tree.setdefault(name, {}), rest, value, new=new)
    else:
        tree[name] = value(tree[name]) if callable(value) else copy.deepcopy(value)


def select(config: dict[str, Any], key: str, names: tuple[str, ...]) -> None:
    """Keep these tasks or arms, and the claims that speak of no other and need no other claim."""

    def called() -> set[str]:
        parts = _all_arms(config)
        own = {name for at, arms in parts.items() for arm in arms for name in (arm, at + arm)}
        return own | {f"{task}/{arm}" for task in config.get("tasks", {}) for arm in parts.get("", {})}

    before = called()
    for own in [config["tasks"]] if key == "tasks" else _all_arms(config).values():
        for name in set(own) - set(names):
            del own[name]
    gone, claims = before - called(), config["claims"]
    sides = lambda said: {said.get(side) for side in ("arm", "versus", "floor", "ceiling")}
    terms = lambda said: {term[0] for term in said.get("terms", ())}
    lost = {said["name"] for said in claims if gone & (sides(said) | terms(said))}
    lost |= {said["name"] for said in claims if lost & set(said.get("needs", ()))}
    config["claims"] = tuple(said for said in claims if said["name"] not in lost)


def _search(config: dict[str, Any], key: str, grid: Grid) -> None:
    """Every setting of the grid is an arm."""
    for arms in _all_arms(config).values():
        tried = {f"{name}_{n}": _with(arms[name], own) for name in grid for n, own in enumerate(grid[name])}
        arms.clear()
        arms |= tried


def _map(config: dict[str, Any], key: str, condition: tuple[str, str, Any]) -> None:
    """A task for every value of one of its keys, and what `report.map_points` asks for."""
    words, (_, task, own), values = condition[0], condition[1].split(".", 2), condition[2]
    values = values if isinstance(values, Mapping) else {value: value for value in values}
    points = {f"{task}_{n}": number for n, number in enumerate(values)}
    config["tasks"] = {name: _with(config["tasks"][task], {own: values[n]}) for name, n in points.items()}
    config["map"] = {"condition": words, "values": points}
