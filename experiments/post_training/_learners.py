"""What methods of post-training are made from, and the two kinds: rewarded by a verifier, and imitating."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.optimizers import clipped_adam
from experiments.post_training._imitation import sampled_from_teacher
from experiments.post_training._objectives import advantage_of, loss_of
from experiments.post_training._policy_tasks import EOS, longest_answer
from jaxlab.core import InputError, Learner
from jaxlab.language import Decoder
from jaxlab.language.tasks import Task
from jaxlab.post_training import diagnose, rlvr_learner


class World(NamedTuple):
    """What all arms of a comparison share.

    Attributes:
      student, teacher: shapes; there may be no teacher.
      task: problems and their verifier.
      config: the config.
    """

    student: Decoder
    teacher: Decoder | None
    task: Task
    config: ConfigDict

    @property
    def longest(self) -> int:
        """Tokens that a completion may have."""
        return longest_answer(self.task, self.config)

    @property
    def sampling(self) -> dict[str, Any]:
        """What `roll_out` is told besides the policy."""
        return {
            "max_new_tokens": self.longest, "eos": EOS, "stop_early": False,
            "segment": self.config.get("segment", 32),
        }  # fmt: skip


def of_student(context: Any) -> Any:
    """Where every policy starts."""
    return context["student"]


def of_teacher(context: Any) -> Any:
    """The teacher's parameters."""
    return context["teacher"]


def steps_of(world: World, arm: Any) -> int:
    """An arm's own number of steps, where it has one."""
    return arm.steps if "steps" in arm else world.config.steps


def rewarded(world: World, arm: Any, **slots: Any) -> Learner:
    """The student's own samples, paid by the verifier; `slots` replace what `rlvr_learner` is given."""
    config = world.config
    given = {
        "policy": of_student,
        "verify": world.task.verify,
        "advantage": advantage_of(arm, world.longest),
        "loss": loss_of(arm),
        "optimizer": clipped_adam(arm.learning_rate, arm.max_grad_norm),
        "group_size": config.group_size,
        "teacher": (world.teacher, of_teacher) if "teacher" in arm else None,
        "minibatches": arm.minibatches,
        "passes": arm.passes,
        "microbatches": config.get("microbatches", 1),
    }
    return rlvr_learner(world.student, **world.sampling, **given | slots)


def imitating(world: World, arm: Any) -> Learner:
    """Maximum likelihood of the teacher's samples."""
    if world.teacher is None:
        raise InputError("method is 'sft' and the config has no teacher: add one under the key teacher")
    return sampled_from_teacher(
        world.student, world.teacher, policy=of_student, teacher_params=of_teacher,
        num_samples=world.config.group_size, optimizer=clipped_adam(arm.learning_rate, arm.max_grad_norm),
        max_new_tokens=world.longest, eos=EOS,
    )  # fmt: skip


def early_and_late(before: dict, step: jax.Array, steps: int, **now: jax.Array) -> dict[str, jax.Array]:
    """Means over the first and the last fifth of the steps, of what each step says, after step number `step`."""
    fifth = max(steps // 5, 1)
    within = {"early": step <= fifth, "late": step > steps - fifth}
    return {
        f"{when}_{name}": before[f"{when}_{name}"] + jnp.where(within[when], value / fifth, 0.0)
        for name, value in now.items()
        for when in within
    }


def nothing_told(*names: str) -> dict[str, jax.Array]:
    """What `early_and_late` begins with."""
    return {f"{when}_{name}": jnp.float32(0) for name in names for when in ("early", "late")}


def findings(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the arms suffer from, at most three lines for each."""
    return [f"{arm}, {finding}" for arm, own in rows.items() for finding in diagnose(own)]


def told(state: Any) -> dict[str, jax.Array]:
    """What a method remembers in order to report it, under "told" in the memory of its state."""
    memory = getattr(state, "memory", ())
    return memory.get("told", {}) if isinstance(memory, dict) else {}
