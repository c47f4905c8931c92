"""A learner small enough to compile in a blink: least squares by SGD, as an experiment with two arms."""

import jax
import jax.numpy as jnp
import optax

from jaxlab.core import Learner, gradient_learner
from jaxlab.training import Arm, Claim, Experiment, Plan


def data():
    """600 rows of 4 numbers and a noisy linear answer."""
    inputs = jax.random.normal(jax.random.key(7), (600, 4))
    answers = inputs @ jnp.array([1.0, -2.0, 0.5, 3.0]) + 0.1 * jax.random.normal(jax.random.key(8), (600,))
    return {"train": (inputs[:400], answers[:400]), "val": (inputs[400:500], answers[400:500]),
            "test": (inputs[500:], answers[500:])}  # fmt: skip


def draw(train, key):
    """Eight rows."""
    rows = jax.random.randint(key, (8,), 0, train[0].shape[0])
    return train[0][rows], train[1][rows]


def mse(params, rows):
    """Mean squared error."""
    return jnp.mean((rows[0] @ params["w"] - rows[1]) ** 2)


def learner(rate: float = 0.05, nan_at: int | None = None, nan_seed_above: float = -jnp.inf) -> Learner:
    """Adam on the squared error; with `nan_at` the loss turns NaN at that update."""

    def loss(params, memory, batch, step, key, context):
        noise = 0.01 * jax.random.normal(key)
        return mse(params, batch) + 0.0 * noise, (memory, {"noise": noise})

    base = gradient_learner(
        lambda key, context: ({"w": jax.random.normal(key, (4,))}, None), loss, optax.adam(rate)
    )
    if nan_at is None:
        return base

    def update(state, batch, key, context):
        (inner, count) = state
        inner, metrics = base.update(inner, batch, key, context)
        bad = (count + 1 == nan_at) & (inner.params["w"][0] > nan_seed_above)
        return (inner, count + 1), {**metrics, "loss": jnp.where(bad, jnp.nan, metrics["loss"])}

    return Learner(lambda key, context: (base.init(key, context), jnp.int32(0)), update)


def params_of(state):
    """The parameters, also of the learner that turns NaN."""
    return (state if hasattr(state, "params") else state[0]).params


def evaluate(state, split, context):
    """Mean squared error on a split."""
    return {"mse": mse(params_of(state), split)}


def plan(**changes) -> Plan:
    """Three seeds, a log line every ten steps."""
    return Plan(**{"seeds": (0, 1, 2), "log_every": 10, "eval_every": 20, "checkpoint_every": 20, **changes})


def experiment(**arms) -> Experiment:
    """Fast against slow, with a claim."""
    arms = arms or {"fast": Arm(learner(0.1), steps=60), "slow": Arm(learner(0.001), steps=60)}
    names = list(arms)
    text = f"{names[0]} beats {names[-1]}"
    claim = Claim(f"{names[0]}_over_{names[-1]}", text, "test/mse", names[0], names[-1], lower_is_better=True)
    return Experiment(data=data(), draw=draw, arms=arms, evaluate=evaluate, claims=(claim,))


def method(settings):
    """The same learner as a function of its settings; with `nan_at` above 0 its loss turns NaN at that update."""

    def loss(params, memory, batch, step, key, context):
        value = mse(params, batch) + settings.shrink * jnp.sum(params["w"] ** 2)
        return jnp.where(step + 1 == settings.nan_at, jnp.nan, value), (memory, {})

    start = lambda key, context: ({"w": jax.random.normal(key, (4,))}, None)
    return gradient_learner(start, loss, optax.adam(settings.rate))


def arm(rate: float = 0.1, shrink: float = 0.0, nan_at: float = 0.0, steps: int = 60, **options) -> Arm:
    """An arm of `method`: arms that differ in these numbers share a program."""
    return Arm(method, {"rate": rate, "shrink": shrink, "nan_at": nan_at}, steps=steps, **options)
