"""Learn to rank from clicks: one arm per way of dealing with what users never looked at, one task per kind of user.

All users see the lists of the same weak initial ranker; their clicks are simulated anew for every batch and are the
same for all arms. An arm trains the same net from the same initial parameters; only what a click counts differs. The
floor is the initial ranker itself, the ceiling a net that learns from the true grades.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.splits import independent
from experiments.ranking._users import USERS, Users
from jaxlab import data, metrics, nets, ranking
from jaxlab.core import Computed, InputError, Learner, computed, gradient_learner
from jaxlab.ranking import dla
from jaxlab.training import Claim, Experiment, PerSeed

Evaluate = Callable[[Any, data.RankingQueries, Any], dict[str, jax.Array]]
Method = tuple[Learner | Computed, Evaluate, None]

CUTOFFS = (1, 3, 10)


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per kind of user.

    Args:
      config: see configs/ranking/dla.py for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    splits = _queries(config)
    kept = {name: split for name, split in splits.items() if name != "test" or config.test}
    # What users look at in a cascade is a mean over lists, of any draw of the task.
    grades = splits["train"].make(jax.random.key(0)).grade
    return {
        name: _experiment(
            kept,
            choose(f"task {name}: user", task.user, USERS)(task, grades),
            config,
            claims_of(config, name),
        )
        for name, task in config.tasks.items()
    }


def _check(config: ConfigDict) -> None:
    check_counts(config, "steps", "batch_size")
    check_arms(config.arms, {"method": METHODS})
    for name, arm in config.arms.items():
        if arm.max_weight < 1:
            raise InputError(f"arm {name}: max_weight is {arm.max_weight}: it must be at least 1")


def _queries(config: ConfigDict) -> dict[str, PerSeed]:
    """A task is a draw of directions; the splits are independent queries of it."""
    spec = config.data
    make = lambda task, key, count: data.ranking_queries(
        task, key, count, num_documents=spec.documents, num_features=spec.features,
        initial_quality=spec.initial_quality, noise=spec.noise,
    )  # fmt: skip
    return independent(make, spec)


def _experiment(
    splits: dict[str, Any], users: Users, config: ConfigDict, claims: tuple[Claim, ...]
) -> Experiment:
    net = nets.Mlp(features=config.features, num_classes=1, activation=nn.elu)

    def draw(train: data.RankingQueries, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        return batch | {"click": users.sample(jax.random.fold_in(key, 1), batch["grade"])}

    methods = methods_of(METHODS, config.arms, lambda make: functools.partial(make, net, users, config))
    return Experiment(
        data=splits,
        draw=draw,
        arms=make_arms(config.arms, methods, config.steps, steps_of={"initial": 0}),
        claims=claims,
        summarise=late_change("val/ndcg_10"),
    )


def _initial(net: nets.Mlp, users: Users, config: ConfigDict, settings: Any) -> Method:
    """The ranker whose lists are shown: the documents in the order in which they stand."""
    as_shown = lambda state, features: jnp.broadcast_to(
        -jnp.arange(features.shape[1], dtype=jnp.float32), features.shape[:2]
    )
    return computed(lambda key, context, train: jnp.zeros(())), _evaluate(as_shown, None, users), None


def _trained(
    curve: Callable | None, lesson: Callable, net: nets.Mlp, users: Users, config: ConfigDict, settings: Any
) -> Method:
    """A ranker beside a model of what users look at; `curve` is what the arm believes of that, if anything."""
    rank = lambda params, features: _scores(net, params["ranker"], features)

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        example = jnp.zeros((1, config.data.features))
        return {"ranker": net.init(key, example), "propensity": jnp.zeros_like(users.examination)}, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        scores = rank(params, batch["features"])
        value, metrics = lesson(scores, params["propensity"], batch, users, settings)
        return value, (memory, metrics)

    # One optimizer for each of the two models, both as old as the training.
    step = lambda rate: optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adagrad(rate))
    optimizer = optax.partition(
        {"ranker": step(settings.learning_rate), "propensity": step(settings.propensity_rate)},
        {"ranker": "ranker", "propensity": "propensity"},
    )
    score = lambda state, features: rank(state.params, features)
    known = curve and (lambda state: curve(state.params["propensity"], users))
    return gradient_learner(init, loss, optimizer), _evaluate(score, known, users), None


def _from_clicks(
    curve: Callable, scores: Any, propensity: Any, batch: Any, users: Users, settings: Any
) -> tuple[Any, dict]:
    weights = dla.relative_weights(curve(propensity, users), max_weight=settings.max_weight)
    return dla.weighted_list_loss(scores, batch["click"], weights=weights), {}


def _dual(scores: Any, propensity: Any, batch: Any, users: Users, settings: Any) -> tuple[Any, dict]:
    """Each half has a gradient for its own model alone."""
    losses = dla.dla_losses(scores, propensity, batch["click"], max_weight=settings.max_weight)
    ratio = jnp.exp(propensity[-1] - propensity[0])
    return losses.ranker + losses.propensity, {"propensity_loss": losses.propensity, "last_over_first": ratio}


def _from_grades(scores: Any, propensity: Any, batch: Any, users: Users, settings: Any) -> tuple[Any, dict]:
    return dla.weighted_list_loss(scores, jnp.exp2(batch["grade"].astype(jnp.float32)) - 1), {}


# What users look at, as `[L]` logits, for the arms that weigh clicks by it.
CURVES: dict[str, Callable] = {
    "naive": lambda propensity, users: jnp.zeros_like(users.examination),
    "ipw_true": lambda propensity, users: jnp.log(users.examination),
    "ipw_wrong": lambda propensity, users: jnp.log(users.wrong),
}
METHODS: dict[str, Callable[..., Method]] = {
    "initial": _initial,
    **{
        name: functools.partial(_trained, curve, functools.partial(_from_clicks, curve))
        for name, curve in CURVES.items()
    },
    "dla": functools.partial(_trained, lambda propensity, users: propensity, _dual),
    "labels": functools.partial(_trained, None, _from_grades),
}


def _scores(net: nets.Mlp, params: Any, features: jax.Array) -> jax.Array:
    """`[B, L]` from `[B, L, F]`: every document by itself."""
    return net.apply(params, features.reshape(-1, features.shape[-1])).reshape(features.shape[:-1])


def _evaluate(score: Callable, curve: Callable | None, users: Users) -> Evaluate:
    """nDCG and MRR (of grades 3 and 4) on true grades; the error of the examination curve of arms that have one."""

    def evaluate(state: Any, split: data.RankingQueries, context: Any) -> dict[str, jax.Array]:
        scores = score(state, split.features)
        found = {f"ndcg_{k}": metrics.ndcg_at_k(scores, split.grade, k=k).mean() for k in CUTOFFS}
        found["mrr"] = metrics.mrr(scores, split.grade - 2).mean()
        if curve is not None:
            found["examination_error"] = ranking.relative_examination_error(curve(state), users.examination)
        return found

    return evaluate
