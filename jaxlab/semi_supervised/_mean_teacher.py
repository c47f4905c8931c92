"""The learner of most methods here: a student that follows a gradient, a teacher that follows the student."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab.core import EmaState, Learner, ema_init, ema_update, gradient_learner, ramp_up_decay
from jaxlab.core.check import InputError, check_decay

Loss = Callable[..., tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]]


class TeacherMemory(NamedTuple):
    """What a mean teacher's learner remembers beside the student, the `memory` of its `TrainState`.

    Attributes:
      teacher: moving average of the student; its parameters are `teacher.value`.
      own: whatever else the loss remembers: thresholds, prototypes, queues.

    >>> TeacherMemory(None, {}).own
    {}
    """

    teacher: EmaState
    own: Any


def mean_teacher_learner(
    init: Callable[[jax.Array, Any], tuple[Any, Any]],
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    decay: float = 0.999,
    warm_up: int = 0,
) -> Learner:
    """A learner whose teacher is the moving average of its student.

    One step is one gradient step of the student, then one of the average. During `warm_up` the teacher is a copy of
    the student; after it the decay rises as a plain mean's would, up to `decay`. What becomes of the teacher's
    predictions is the loss's affair; no gradient reaches the teacher or the memory.

        params <- optimizer(params, grad loss),   teacher <- d teacher + (1 - d) params
        d = min(1 - 1 / (t - warm_up + 1), decay) from step t = warm_up on, 0 before

    Args:
      init: `(key, context) -> (params, memory)`.
      loss: `(params, teacher_params, memory, batch, step, key, context) -> (scalar, (memory, metrics))`; metrics are
        float32 scalars, and the memory keeps its structure.
      optimizer: any optax transformation; parameters in half precision learn in float32, see `core.master_weights`.
      decay: the largest decay, in [0, 1].
      warm_up: steps, at least 0.

    Returns:
      A learner whose state is a `core.TrainState` with a `TeacherMemory`, and whose metrics are the loss's own and
      `loss`.

    Raises:
      ValueError: if the decay is outside [0, 1] or the warm-up is negative.

    Reference: Tarvainen, Valpola, Mean teachers are better role models, 2017, section 2 and the authors' code.

    >>> learner = mean_teacher_learner(
    ...     lambda key, context: (jnp.zeros(()), {}),
    ...     lambda p, teacher, memory, batch, step, key, context: ((p - batch) ** 2, (memory, {})),
    ...     optax.sgd(0.5), decay=0.5)
    >>> state = learner.init(jax.random.key(0), {})
    >>> for target in (4.0, 2.0):
    ...     state, metrics = learner.update(state, jnp.array(target), jax.random.key(1), {})
    >>> float(state.params), float(state.memory.teacher.value)
    (2.0, 3.0)
    """
    check_decay(decay)
    if warm_up < 0:
        raise InputError(f"warm_up is {warm_up}: it must be at least 0")
    ramp = ramp_up_decay(decay)
    schedule = lambda count: ramp(jnp.maximum(count - warm_up, 0))

    def begin(key: jax.Array, context: Any) -> tuple[Any, TeacherMemory]:
        params, own = init(key, context)
        return params, TeacherMemory(ema_init(params), own)

    def of_student(
        params: Any, memory: TeacherMemory, batch: Any, step: jax.Array, key: jax.Array, context: Any
    ) -> tuple[jax.Array, tuple[TeacherMemory, dict]]:
        value, (own, metrics) = loss(params, memory.teacher.value, memory.own, batch, step, key, context)
        return value, (TeacherMemory(memory.teacher, own), metrics)

    def follow(params: Any, memory: TeacherMemory, step: jax.Array) -> TeacherMemory:
        return memory._replace(teacher=ema_update(memory.teacher, params, schedule))

    return gradient_learner(begin, of_student, optimizer, after=follow)
