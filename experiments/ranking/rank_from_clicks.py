"""Learn to rank from clicks: one arm per way of dealing with what users never looked at, one task per kind of user.

All users see the lists of the same weak initial ranker; their clicks are simulated anew for every batch and are the
same for all arms. An arm trains the same net from the same initial parameters; only what a click counts differs. The
floor is the initial ranker itself, the ceiling a net that learns from the true grades.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from jaxlab import data, metrics, nets, ranking
from jaxlab.core import Computed, InputError, Learner, computed, gradient_learner
from jaxlab.training import Arm, Claim, Experiment

Evaluate = Callable[[Any, data.RankingQueries, Any], dict[str, jax.Array]]
Method = tuple[Learner | Computed, Evaluate, None]

USERS = ("position", "cascade", "trust")
CUTOFFS = (1, 3, 10)


class Users(NamedTuple):
    """How one kind of user clicks.

    Attributes:
      sample: `(key, grades [B, L]) -> clicks [B, L]`.
      examination: `[L]`, how often each position is looked at; of the cascade the mean over training lists.
      wrong: `[L]`, the curve that the arm with wrong propensities believes in.
    """

    sample: Callable[[jax.Array, jax.Array], jax.Array]
    examination: jax.Array
    wrong: jax.Array


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per kind of user.

    Args:
      config: see configs/ranking/dla.py for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    splits = _queries(config)
    kept = {name: split for name, split in splits.items() if name != "test" or config.test}
    return {name: _experiment(kept, task, config) for name, task in config.tasks.items()}


def _check(config: ConfigDict) -> None:
    for name in ("steps", "batch_size"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")
    for name, task in config.tasks.items():
        if task.user not in USERS:
            raise InputError(f"task {name}: user is {task.user!r}: it must be one of {', '.join(USERS)}")
    for name, arm in config.arms.items():
        if arm.weights not in METHODS:
            raise InputError(
                f"arm {name}: weights is {arm.weights!r}: it must be one of {', '.join(METHODS)}"
            )
        if arm.max_weight < 1:
            raise InputError(f"arm {name}: max_weight is {arm.max_weight}: it must be at least 1")


def _queries(config: ConfigDict) -> dict[str, data.RankingQueries]:
    """The task is one draw of directions; the splits are independent queries of it."""
    spec, task = config.data, jax.random.key(config.data.split_seed)
    make = jax.jit(
        lambda key, count: data.ranking_queries(
            task, key, count, num_documents=spec.documents, num_features=spec.features,
            initial_quality=spec.initial_quality, noise=spec.noise,
        ),
        static_argnums=1,
    )  # fmt: skip
    return {
        name: make(jax.random.fold_in(task, number), spec[name])
        for number, name in enumerate(("train", "val", "test"), start=1)
    }


def _experiment(splits: dict[str, Any], task: ConfigDict, config: ConfigDict) -> Experiment:
    users = _users(task, splits["train"].grade)
    net = nets.Mlp(features=config.features, num_classes=1, activation=nn.elu)

    def draw(train: data.RankingQueries, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        return batch | {"click": users.sample(jax.random.fold_in(key, 1), batch["grade"])}

    methods = {name: functools.partial(METHODS[name], net, users, config) for name in METHODS}
    return Experiment(
        data=splits,
        draw=draw,
        arms={
            name: Arm(methods[arm.weights], arm.to_dict(), 0 if arm.weights == "initial" else config.steps)
            for name, arm in config.arms.items()
        },
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _users(task: ConfigDict, grades: jax.Array) -> Users:
    length = grades.shape[-1]
    wrong = ranking.position_bias_examination(length, eta=task.wrong_eta)
    seems = lambda grade: ranking.click_probability(grade, noise=task.noise)
    if task.user == "cascade":
        going_on = {"after_click": task.after_click, "after_skip": task.after_skip}
        sample = lambda key, grade: ranking.sample_cascade_clicks(key, seems(grade), **going_on)
        return Users(sample, ranking.cascade_examination(seems(grades), **going_on).mean(0), wrong)
    examination = ranking.position_bias_examination(length, eta=task.eta)
    clicked = seems
    if task.user == "trust":
        clicked = lambda grade: ranking.trust_bias_click_probability(seems(grade), trust=task.trust)
    return Users(
        lambda key, grade: ranking.sample_clicks(key, clicked(grade), examination), examination, wrong
    )


def _initial(net: nets.Mlp, users: Users, config: ConfigDict, settings: Any) -> Method:
    """The ranker whose lists are shown: the documents in the order in which they stand."""
    as_shown = lambda state, features: jnp.broadcast_to(
        -jnp.arange(features.shape[1], dtype=jnp.float32), features.shape[:2]
    )
    return computed(lambda key, context, train: jnp.zeros(())), _evaluate(as_shown, None, users), None


def _trained(net: nets.Mlp, users: Users, config: ConfigDict, settings: Any) -> Method:
    """A ranker beside a model of what users look at."""
    curve, own = CURVES.get(settings.weights), LOSSES.get(settings.weights, _from_clicks)
    rank = lambda params, features: _scores(net, params["ranker"], features)

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        example = jnp.zeros((1, config.data.features))
        return {"ranker": net.init(key, example), "propensity": jnp.zeros_like(users.examination)}, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        scores = rank(params, batch["features"])
        value, metrics = own(scores, params["propensity"], batch, users, settings)
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


def _from_clicks(scores: Any, propensity: Any, batch: Any, users: Users, settings: Any) -> tuple[Any, dict]:
    curve = CURVES[settings.weights](propensity, users)
    weights = ranking.relative_weights(curve, max_weight=settings.max_weight)
    return ranking.weighted_list_loss(scores, batch["click"], weights=weights), {}


def _dual(scores: Any, propensity: Any, batch: Any, users: Users, settings: Any) -> tuple[Any, dict]:
    """Each half has a gradient for its own model alone."""
    losses = ranking.dla_losses(scores, propensity, batch["click"], max_weight=settings.max_weight)
    ratio = jnp.exp(propensity[-1] - propensity[0])
    return losses.ranker + losses.propensity, {"propensity_loss": losses.propensity, "last_over_first": ratio}


def _from_grades(scores: Any, propensity: Any, batch: Any, users: Users, settings: Any) -> tuple[Any, dict]:
    return ranking.weighted_list_loss(scores, jnp.exp2(batch["grade"].astype(jnp.float32)) - 1), {}


# What users look at, as `[L]` logits, for the arms that have an idea of it.
CURVES: dict[str, Callable] = {
    "none": lambda propensity, users: jnp.zeros_like(users.examination),
    "true": lambda propensity, users: jnp.log(users.examination),
    "wrong": lambda propensity, users: jnp.log(users.wrong),
    "dual": lambda propensity, users: propensity,
}
LOSSES: dict[str, Callable] = {"dual": _dual, "labels": _from_grades}
METHODS = {**dict.fromkeys((*CURVES, "labels"), _trained), "initial": _initial}


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
