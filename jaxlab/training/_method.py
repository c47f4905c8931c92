"""From an arm to what the engine calls: a method with its settings, and arms whose settings are one axis."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import Computed, InputError, Learner
from jaxlab.core.check import called
from jaxlab.training.experiment import Arm, Draw, Evaluate, Experiment, Export, Stream, Streamed, Turn
from jaxlab.training.mesh import Rules


class Settings(dict):
    """The settings of an arm as a method reads them: `settings["rate"]` or `settings.rate`, nested dicts alike."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(f"no setting {name!r}: there are {', '.join(self) or 'none'}") from None
        return Settings(value) if isinstance(value, dict) else value


class Method(NamedTuple):
    """What one setting of a method comes to."""

    learner: Learner | Computed
    evaluate: Evaluate
    export: Export


class Group(NamedTuple):
    """Arms of one compiled program.

    Attributes:
      names: the arms'.
      make: `settings -> Method`.
      settings: per arm, `{path: value}`.
      draw, stream, turn, sharding, steps: what they share.
      streamed: the training data, where they are read chunk by chunk.
      context_sharding: the rules of the stages before, by name.
    """

    names: tuple[str, ...]
    make: Callable[[Settings], Method]
    settings: tuple[dict[tuple[str, ...], Any], ...]
    draw: Draw | None
    stream: Stream | None
    turn: Turn | None
    sharding: Rules
    context_sharding: Mapping[str, Rules]
    steps: int
    streamed: Streamed | None = None

    def varying(self) -> list[tuple[str, ...]]:
        """Paths of the settings in which the arms differ, in a fixed order."""
        first = self.settings[0]
        return [path for path in first if any(own[path] != first[path] for own in self.settings)]

    def values(self) -> dict[tuple[str, ...], jax.Array]:
        """The varying settings, float32 `[arms]`, of weak type: they promote as Python numbers do."""
        return {
            path: jnp.stack([jnp.asarray(float(own[path])) for own in self.settings])
            for path in self.varying()
        }

    def method(self, values: Mapping[tuple[str, ...], Any] | None = None) -> Method:
        """The method of the first arm, with `values` in the place of its own."""
        return self.make(_nested({**self.settings[0], **(values or {})}))

    def extremes(self) -> list[dict[tuple[str, ...], float]]:
        """Every varying setting at its smallest, and every one at its largest: concrete values that checks can see."""
        paths = self.varying()
        return (
            [{path: end(own[path] for own in self.settings) for path in paths} for end in (min, max)]
            if paths
            else []
        )

    def only(self, kept: Sequence[str]) -> "Group":
        """The group of some of its arms."""
        chosen = [number for number, name in enumerate(self.names) if name in kept]
        return self._replace(
            names=tuple(self.names[number] for number in chosen),
            settings=tuple(self.settings[number] for number in chosen),
        )


def group_of(name: str, arm: Arm, experiment: Experiment) -> Group:
    """One arm, alone."""
    own = arm.draw is not None or arm.stream is not None
    return Group(
        names=(name,),
        make=lambda settings: _made(arm, experiment, settings),
        settings=(dict(_flat(arm.settings)),),
        draw=arm.draw if own else experiment.draw,
        stream=arm.stream if own else experiment.stream,
        turn=arm.turn,
        sharding=arm.sharding,
        context_sharding={stage: made.sharding for stage, made in experiment.prepare.items()},
        steps=arm.steps,
        streamed=train if isinstance(train := experiment.data["train"], Streamed) else None,
    )


def groups_of(experiment: Experiment) -> list[Group]:
    """The arms of an experiment, those that can be one program together, in the order of their first.

    Learners that stay on the host (`jit=False`) have no program to share.
    """
    found: dict[Any, Group] = {}
    for name, arm in experiment.arms.items():
        alone = group_of(name, arm, experiment)
        key = _identity(name, arm) if alone.method().learner.jit else name
        if key in found:
            known = found[key]
            found[key] = known._replace(
                names=known.names + alone.names, settings=known.settings + alone.settings
            )
        else:
            found[key] = alone
    return list(found.values())


def _identity(name: str, arm: Arm) -> Any:
    """Equal for arms that share a program."""
    if isinstance(arm.method, Learner | Computed):
        return name
    static = tuple(
        (path, repr(value), type(value).__name__) if not _traced(path, value, arm.static) else (path,)
        for path, value in sorted(_flat(arm.settings))
    )
    shared = (arm.method, arm.evaluate, arm.export, arm.draw, arm.stream, arm.turn)
    return (*(id(part) for part in shared), static, arm.steps, repr(arm.sharding))


def _traced(path: tuple[str, ...], value: Any, static: tuple[str, ...]) -> bool:
    return type(value) is float and ".".join(path) not in static


def _made(arm: Arm, experiment: Experiment, settings: Settings) -> Method:
    made = arm.method if isinstance(arm.method, Learner | Computed) else arm.method(settings)
    evaluate, export = arm.evaluate or experiment.evaluate, arm.export
    if isinstance(made, Learner | Computed):
        return Method(made, evaluate, export)
    if type(made) is not tuple or len(made) != 3:
        raise InputError(
            f"an arm's method gives {called(made)}: it must be a Learner, or a function of the settings that gives one "
            "or (learner, evaluate, export)"
        )
    learner, own_evaluate, own_export = made
    return Method(learner, own_evaluate or evaluate, own_export or export)


def _flat(settings: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Leaves by path; an empty dict is a leaf."""
    leaves = []
    for name, value in settings.items():
        path = (*prefix, name)
        leaves += _flat(value, path) if isinstance(value, Mapping) and value else [(path, value)]
    return leaves


def _nested(leaves: Mapping[tuple[str, ...], Any]) -> Settings:
    tree: dict = Settings()
    for (*folders, name), value in leaves.items():
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = value
    return tree
