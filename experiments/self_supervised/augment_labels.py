"""Classify images from a few labels, with what a fixed set of transformations adds: one arm per role of theirs.

All arms pass as many images through the net in a step: `plain` so many different ones, the others a part of them in all
four quarter turns. Each is judged by one pass, and by as many passes as there are turns: of joint labels the aggregate,
of a net that should not see turns the mean over them, of a plain one the mean over the image and random views of it,
like those that it was trained on. What an arm learns is its `method`, a name in `METHODS`. Seeds have own labels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts
from experiments.parts.chunks import in_chunks
from experiments.parts.claims import claims_of
from experiments.parts.nets import make_net
from experiments.parts.optimizers import adamw
from experiments.self_supervised._few_label_splits import few_label_splits
from jaxlab import data, nets
from jaxlab.core import Learner, cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.self_supervised.sla import aggregate_logits, joint_label_loss, self_distilled_loss, single_logits
from jaxlab.training import Experiment

COPIES = 4  # quarter turns
Method = tuple[Learner, Callable, None]


class Task(NamedTuple):
    """What the arms share: the images' classes, a net for so many outputs, an example, random views, steps."""

    num_classes: int
    net: Callable[[int], Any]
    example: jax.Array
    views: Mapping[str, float]
    batch_size: int
    steps: int

    def look(self, images: jax.Array, key: jax.Array, count: int = 1) -> jax.Array:
        """Random views `[count, B, H, W, C]`."""
        return data.random_views(images, key, count=count, **self.views)


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/self_supervised/sla.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    check_counts(config, "batch_size", "steps", "labels_per_class")
    check_arms(config.arms, {"method": METHODS})
    splits, classes = few_label_splits(config.data, config.labels_per_class, download)
    views, net = config.views.to_dict(), functools.partial(make_net, config.net)
    task = Task(classes, net, splits["train"]["image"][:1], views, config.batch_size, config.steps)
    return Experiment(
        data={name: split for name, split in splits.items() if name != "test" or config.test},
        draw=lambda train, key: _draw(task, train, key),
        arms=make_arms(
            config.arms,
            methods_of(METHODS, config.arms, lambda m: functools.partial(m, task)),
            config.steps,
        ),
        claims=claims_of(config),
        summarise=_late_change,
    )


def _draw(task: Task, train: Mapping[str, jax.Array], key: jax.Array) -> dict[str, jax.Array]:
    """Views of labelled images, COPIES times `batch_size`, of which arms that turn theirs take the first ones."""
    size = COPIES * task.batch_size
    row = train["row"][jax.random.randint(key, (size,), 0, len(train["row"]))]
    return {
        "image": task.look(train["image"][row], jax.random.fold_in(key, 1))[0],
        "label": train["label"][row],
    }


def plain(task: Task, settings: Any) -> Method:
    """Labels alone."""

    def loss(logits: Callable, batch: Mapping[str, jax.Array]) -> jax.Array:
        return cross_entropy(logits(batch["image"])[0], batch["label"])

    def passes(logits: Callable, images: jax.Array, rows: jax.Array) -> dict[str, jax.Array]:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(0), rows)
        views = jax.vmap(lambda image, key: task.look(image[None], key, COPIES - 1)[:, 0], out_axes=1)(
            images, keys
        )
        each = jnp.stack([logits(seen)[0] for seen in (images, *views)])
        return {"one": each[0], "all": each.mean(axis=0)}

    return _learned(task, settings, 1, loss, passes)


def invariant(task: Task, settings: Any) -> Method:
    """Every copy has the label of its image: what transformations are usually for."""

    def loss(logits: Callable, batch: Mapping[str, jax.Array]) -> jax.Array:
        image, label = batch["image"][: task.batch_size], batch["label"][: task.batch_size]
        return cross_entropy(logits(data.transformed_copies(image))[0], jnp.repeat(label, COPIES))

    def passes(logits: Callable, images: jax.Array, rows: jax.Array) -> dict[str, jax.Array]:
        each = logits(data.transformed_copies(images))[0].reshape(-1, COPIES, task.num_classes)
        return {"one": each[:, 0], "all": each.mean(axis=1)}

    return _learned(task, settings, 1, loss, passes)


def joint(task: Task, settings: Any) -> Method:
    """One softmax over class and turn; with a `distillation_weight` its aggregate teaches a second head."""
    weight = settings.distillation_weight

    def loss(logits: Callable, batch: Mapping[str, jax.Array]) -> jax.Array:
        image, label = batch["image"][: task.batch_size], batch["label"][: task.batch_size]
        both, head = logits(data.transformed_copies(image))
        if weight is None:
            return joint_label_loss(both, label, copies=COPIES)
        return self_distilled_loss(both, head[::COPIES], label, copies=COPIES, distillation_weight=weight)[0]

    def passes(logits: Callable, images: jax.Array, rows: jax.Array) -> dict[str, jax.Array]:
        both, head = logits(data.transformed_copies(images))
        one = single_logits(both, copies=COPIES) if weight is None else head[::COPIES]
        return {"one": one, "all": aggregate_logits(both, copies=COPIES)}

    return _learned(task, settings, COPIES, loss, passes)


METHODS: dict[str, Callable[[Task, Any], Method]] = {"plain": plain, "invariant": invariant, "joint": joint}


def _learned(task: Task, settings: Any, copies: int, loss: Callable, passes: Callable) -> Method:
    """A net with an output for every class (and turn), a second head on its features, and what is made of the two."""
    net, head = task.net(copies * task.num_classes), nets.Mlp(features=(), num_classes=task.num_classes)

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        keys = jax.random.split(key)
        (_, features), params = net.init_with_output(keys[0], task.example, return_features=True)
        return {"net": params, "head": head.init(keys[1], features[-1])}, None

    def logits(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, features = net.apply(params["net"], images, return_features=True)
        return first, head.apply(params["head"], features[-1])

    def mean_loss(
        params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any
    ) -> tuple[Any, tuple]:
        return loss(functools.partial(logits, params), batch).mean(), (memory, {})

    def evaluate(state: Any, split: Mapping[str, jax.Array], context: Any) -> dict[str, jax.Array]:
        of_state = functools.partial(passes, functools.partial(logits, state.params))
        found = in_chunks(lambda rows: of_state(split["image"][rows], rows), split["row"])
        label = split["label"][split["row"]]
        return {"accuracy": accuracy(found["one"], label), "accuracy_by_four": accuracy(found["all"], label)}

    return gradient_learner(init, mean_loss, adamw(settings, task.steps)), evaluate, None


def _late_change(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the last fifth of training changed on validation images."""
    steps, value = history["step"], history["val/accuracy"]
    return {"val/late_change": value[-1] - value[np.searchsorted(steps, 0.8 * steps[-1])]}
