"""Retrieval with a fast student: which false candidates it scores, and how its teacher weighs them.

The task is procedural: two views of one latent, among near-duplicates. The teacher is a cross-encoder, which looks at
both views together, and is trained on all pairs; the student is a bi-encoder, whose scores are dot products, and
learns from a part of them. For every image of a batch some candidate texts are drawn, one of them the match; every arm
scores the same number of them. The teacher's scores of all candidate pairs are computed once per seed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.distillation._classifiers import reported
from experiments.parts.checks import check_arms, check_between
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.optimizers import adamw
from experiments.parts.splits import independent
from jaxlab import data, nets
from jaxlab.core import Learner, computed, cross_entropy, gradient_learner
from jaxlab.distillation.dcd import dcd_loss, scores_of, select_hard
from jaxlab.metrics import recall_at_k
from jaxlab.training import Arm, Experiment, PerSeed


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/dcd.py describes.

    Args:
      config: see that file for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    method = functools.partial(_student, config)
    return Experiment(
        data=reported(_splits(config.data), config),
        draw=_candidates(config),
        prepare={"teacher": _teacher(config), "scores": _scores(config)},
        arms={name: Arm(method, arm.to_dict(), config.student.steps) for name, arm in config.arms.items()},
        claims=claims_of(config),
        summarise=late_change("val/r1"),
    )


def _check(config: ConfigDict) -> None:
    check_between(
        "data.student_pairs", config.data.student_pairs, config.data.train, "of data.train", least=2
    )
    check_between("num_negatives", config.num_negatives, config.candidates - 1, "false candidates")
    check_arms(config.arms, {"negatives": NEGATIVES})


def _splits(spec: ConfigDict) -> dict[str, PerSeed]:
    """A task is a draw of the two views; the splits are independent pairs."""
    return independent(lambda *drawn: data.two_view_pairs(*drawn, **spec.views.to_dict()), spec)


def _candidates(config: ConfigDict) -> Callable[[Any, jax.Array], Any]:
    """Images with candidate texts, the match first: among all pairs for the teacher, among few for the student."""

    def among(pairs: data.TwoViews, count: int, keys: Any) -> dict[str, jax.Array]:
        row = jax.random.randint(keys[0], (config.batch_size,), 0, count)
        step = jax.random.randint(keys[1], (config.batch_size, config.candidates - 1), 1, count)
        column = jnp.concatenate([row[:, None], (row[:, None] + step) % count], axis=1)
        return {"row": row, "column": column, "image": pairs.image[row], "text": pairs.text[column]}

    def draw(pairs: data.TwoViews, key: jax.Array) -> dict[str, Any]:
        keys = jax.random.split(key)
        counts = {"all": config.data.train, "few": config.data.student_pairs}
        return {name: among(pairs, count, keys) for name, count in counts.items()}

    return draw


def _teacher(config: ConfigDict) -> Arm:
    """A cross-encoder trained to find the match among the candidates."""
    spec = config.teacher

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, text = batch["all"]["image"], batch["all"]["text"]
        scores = jax.vmap(lambda one, many: _cross(spec, params, one[None], many)[0])(image, text)
        return cross_entropy(scores, jnp.zeros(len(image), jnp.int32)).mean(), (memory, {})

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        keys, view = jax.random.split(key, 3), jnp.zeros((1, config.data.views.view_dim))
        tower, judge = _tower(spec), nets.Mlp(features=(spec.hidden,), num_classes=1)
        fused = jnp.zeros((1, 2 * spec.embedding))
        return {
            "image": tower.init(keys[0], view),
            "text": tower.init(keys[1], view),
            "judge": judge.init(keys[2], fused),
        }, None

    learner = gradient_learner(init, loss, adamw(spec, spec.steps))
    evaluate = _evaluate(functools.partial(_cross, spec))
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def _scores(config: ConfigDict) -> Arm:
    """The teacher's score of every pair of the student's training set `[n, n]`."""

    def made(key: jax.Array, context: Any, train: data.TwoViews) -> jax.Array:
        few = jax.tree.map(lambda x: x[: config.data.student_pairs], train)
        return _cross(config.teacher, context["teacher"], few.image, few.text)

    return Arm(computed(made))


def _student(config: ConfigDict, settings: Any) -> tuple[Learner, Callable, None]:
    """A bi-encoder on the match and `num_negatives` of the candidates."""
    spec, kept = config.student, config.num_negatives + 1

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        keys, view = jax.random.split(key), jnp.zeros((1, config.data.views.view_dim))
        return {
            "image": _tower(spec).init(keys[0], view),
            "text": _tower(spec).init(keys[1], view),
            "scale": jnp.ones(()),
            "shift": jnp.zeros(()),
        }, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        few = batch["few"]
        wise = context["scores"][few["row"][:, None], few["column"]]
        index, released = NEGATIVES[settings.negatives](wise, kept), settings.authors_code
        text = jnp.take_along_axis(few["text"], index[..., None], axis=1)
        compare = lambda one, many: _compare(spec, params, one[None], many)[0]
        scores = jax.vmap(compare)(few["image"], text)
        soft = scores_of(wise, index, authors_code=released)
        value = dcd_loss(scores, soft, alpha=settings.alpha, dynamic=settings.dynamic, authors_code=released)
        first = (soft.argmax(-1) == 0).mean()
        return value, (memory, {"accuracy": (scores.argmax(-1) == 0).mean(), "teacher_accuracy": first})

    learner = gradient_learner(init, loss, adamw(settings, spec.steps))
    return learner, _evaluate(functools.partial(_compare, spec)), None


# Which candidates are scored, from the teacher's scores; the match is the first of them.
NEGATIVES: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "random": lambda wise, kept: jnp.broadcast_to(jnp.arange(kept), (len(wise), kept)),
    "hard": lambda wise, kept: select_hard(wise, num_negatives=kept - 1),
}


def _tower(spec: ConfigDict) -> nets.Mlp:
    return nets.Mlp(features=(spec.hidden,), num_classes=spec.embedding)


def _cross(spec: ConfigDict, params: Any, image: jax.Array, text: jax.Array) -> jax.Array:
    """`[N, M]` scores of all pairs by a judge who sees products and differences of both embeddings."""
    a, b = _tower(spec).apply(params["image"], image), _tower(spec).apply(params["text"], text)
    judge = nets.Mlp(features=(spec.hidden,), num_classes=1)

    def row(one: jax.Array) -> jax.Array:
        return judge.apply(params["judge"], jnp.concatenate([one * b, jnp.abs(one - b)], axis=-1))[:, 0]

    return jax.vmap(row)(a) if len(a) == 1 else jax.lax.map(row, a)


def _compare(spec: ConfigDict, params: Any, image: jax.Array, text: jax.Array) -> jax.Array:
    """`[N, M]` scores of all pairs by dot products."""
    a, b = _tower(spec).apply(params["image"], image), _tower(spec).apply(params["text"], text)
    return params["scale"] * (a @ b.T) / spec.embedding**0.5 + params["shift"]


def _evaluate(score: Callable) -> Callable[[Any, data.TwoViews, Any], dict[str, jax.Array]]:
    """Recall of texts for images and of images for texts, averaged."""

    def evaluate(state: Any, split: data.TwoViews, context: Any) -> dict[str, jax.Array]:
        scores = score(state.params, split.image, split.text)
        both = lambda k: (recall_at_k(scores, k=k) + recall_at_k(scores.T, k=k)) / 2
        return {"r1": both(1), "r5": both(5)}

    return evaluate
