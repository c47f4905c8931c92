"""The learner of most methods here: a student that follows a gradient, a teacher that follows the student."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab.core import EmaState, Learner, ema_init, ema_update, master_weights, ramp_up_decay
from jaxlab.core._check import check_decay

Loss = Callable[
    [Any, Any, Any, Any, jax.Array, jax.Array], tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]
]


class MeanTeacherState(NamedTuple):
    """State of `mean_teacher_learner`.

    Attributes:
      params: of the student.
      opt_state: the optimizer's.
      teacher: moving average of the student; its parameters are `teacher.value`.
      memory: whatever else the loss remembers: thresholds, prototypes, the few labelled examples.
      step: int32 scalar, updates so far.

    >>> MeanTeacherState({}, (), None, {}, jnp.int32(0)).step.item()
    0
    """

    params: Any
    opt_state: Any
    teacher: EmaState
    memory: Any
    step: jax.Array


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
      loss: `(params, teacher_params, memory, batch, step, key) -> (scalar, (memory, metrics))`; metrics are float32
        scalars, and the memory keeps its structure.
      optimizer: any optax transformation; parameters in half precision learn in float32, see `master_weights`.
      decay: the largest decay, in [0, 1].
      warm_up: steps, at least 0.

    Returns:
      A learner whose state is a `MeanTeacherState` and whose metrics are the loss's own and `loss`.

    Raises:
      ValueError: if the decay is outside [0, 1] or the warm-up is negative.

    Reference:
      Tarvainen, Valpola, Mean teachers are better role models, 2017, section 2 and the authors' code.

    >>> learner = mean_teacher_learner(
    ...     lambda key, context: (jnp.zeros(()), {}),
    ...     lambda p, teacher, memory, batch, step, key: ((p - batch) ** 2, (memory, {})),
    ...     optax.sgd(0.5), decay=0.5)
    >>> state = learner.init(jax.random.key(0), {})
    >>> for target in (4.0, 2.0):
    ...     state, metrics = learner.update(state, jnp.array(target), jax.random.key(1))
    >>> float(state.params), float(state.teacher.value)
    (2.0, 3.0)
    """
    check_decay(decay)
    if warm_up < 0:
        raise ValueError(f"warm_up is {warm_up}: it must be at least 0")
    optimizer = master_weights(optimizer)
    ramp = ramp_up_decay(decay)
    schedule = lambda count: ramp(jnp.maximum(count - warm_up, 0))

    def begin(key: jax.Array, context: Any) -> MeanTeacherState:
        params, memory = init(key, context)
        return MeanTeacherState(params, optimizer.init(params), ema_init(params), memory, jnp.int32(0))

    def update(state: MeanTeacherState, batch: Any, key: jax.Array) -> tuple[MeanTeacherState, dict]:
        teacher, memory = jax.lax.stop_gradient((state.teacher.value, state.memory))
        (value, (memory, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params, teacher, memory, batch, state.step, key
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = ema_update(state.teacher, params, schedule)
        new = MeanTeacherState(params, opt_state, average, memory, state.step + 1)
        return new, {"loss": value, **metrics}

    return Learner(begin, update)
