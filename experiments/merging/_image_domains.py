"""Tasks that one net is fine-tuned on separately: digits turned and placed differently, with one classifier for all.

The more the places overlap, the more the tasks ask different things of the same parameters, and the more merging hurts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.parts.images import SeededImages, seeded_digits
from jaxlab import data, nets
from jaxlab.core import InputError, cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.training import Arm

# Quarter turns of the digit, and where on the canvas it stands: down and right, from 0 to 1.
DOMAINS = {
    "top_left": (0, 0.0, 0.0),
    "top_right": (1, 0.0, 1.0),
    "bottom_left": (2, 1.0, 0.0),
    "bottom_right": (3, 1.0, 1.0),
    "top": (2, 0.0, 0.5),
    "right": (3, 0.5, 1.0),
    "bottom": (0, 1.0, 0.5),
    "left": (1, 0.5, 0.0),
}


class Domains(NamedTuple):
    """What every part of the comparison needs to know of its tasks.

    Attributes:
      names: of the K tasks.
      canvas: pixels on a side of what the net sees.
      net: the flax module whose copies are merged.
      images: splits "train", "adapt" (inputs for entropy, apart from all others), "val", "test".
    """

    names: tuple[str, ...]
    canvas: int
    net: Any
    images: SeededImages

    def logits(self, params: Any, image: jax.Array) -> jax.Array:
        """`[K, B, C]` of one model on `image` `[K, B, H, W, c]`, task by task."""
        return jax.vmap(self.net.apply, in_axes=(None, 0))(params, image)

    def own_logits(self, models: Any, image: jax.Array) -> jax.Array:
        """The same with a model per task, leaves `[K, ...]`."""
        return jax.vmap(self.net.apply)(models, image)

    def views(self, image: jax.Array) -> jax.Array:
        """`[K, B, H, W, c]`: images `[K, B, ...]`, each as its task shows it."""
        return jnp.stack([_place(image[k], name, self.canvas) for k, name in enumerate(self.names)])

    @property
    def example(self) -> jax.Array:
        """One image as the net sees it."""
        return _place(self.images.example, self.names[0], self.canvas)


def _place(image: jax.Array, name: str, canvas: int) -> jax.Array:
    turns, down, right = DOMAINS[name]
    room = canvas - image.shape[1]
    top, left = round(down * room), round(right * room)
    turned = jnp.rot90(image, turns, axes=(1, 2))
    return jnp.pad(turned, ((0, 0), (top, room - top), (left, room - left), (0, 0)))


def make_domains(spec: ConfigDict, config: ConfigDict) -> Domains:
    """Digits in four disjoint parts, other ones for every seed, the places of `spec`, and the net."""
    for name in spec.domains:
        if name not in DOMAINS:
            raise InputError(f"domains has {name!r}: it must be among {', '.join(DOMAINS)}")
    if len(spec.domains) < 2 or len(set(spec.domains)) < len(spec.domains):
        raise InputError(f"domains are {tuple(spec.domains)}: merging needs at least two different ones")
    images = seeded_digits(config.data, ("train", "adapt", "val", "test"))
    side = images.example.shape[1]
    if spec.canvas < side:
        raise InputError(f"canvas is {spec.canvas}: it must hold the digits' {side} pixels")
    net = nets.Mlp(features=config.features, num_classes=images.num_classes)
    return Domains(tuple(spec.domains), spec.canvas, net, images)


def draw_views(domains: Domains, batch_size: int) -> Callable[[Any, jax.Array], Any]:
    """For every part of the training data a batch per task, independent of the others' batches."""
    count = len(domains.names)

    def draw(train: dict[str, data.Images], key: jax.Array) -> Any:
        batches = {}
        for number, (name, images) in enumerate(sorted(train.items())):
            rows = data.draw(images, jax.random.fold_in(key, number), batch_size=count * batch_size)
            by_task = jax.tree.map(lambda x: x.reshape(count, batch_size, *x.shape[1:]), rows)
            batches[name] = {"image": domains.views(by_task["image"]), "label": by_task["label"]}
        return batches

    return draw


def pretraining(domains: Domains, spec: ConfigDict) -> Arm:
    """The model that all others begin from: a few steps on all tasks together, so that it knows each a little."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits, label = domains.logits(params, batch["train"]["image"]), batch["train"]["label"]
        return cross_entropy(logits, label).mean(), (memory, {"accuracy": accuracy(logits, label)})

    init = lambda key, context: (domains.net.init(key, domains.example), None)
    learner = gradient_learner(init, loss, optax.adam(spec.learning_rate))
    evaluate = evaluate_models(domains, lambda state, context: state.params)
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def fine_tuning(domains: Domains, spec: ConfigDict) -> Arm:
    """One model per task from the pre-trained one; the classifier stays as it was, so that all tasks share it."""

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        count = len(domains.names)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), context["pretraining"]), None

    def loss(models: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        classifier = jax.lax.stop_gradient(models["params"]["classifier"])
        models = {"params": models["params"] | {"classifier": classifier}}
        logits, label = domains.own_logits(models, batch["train"]["image"]), batch["train"]["label"]
        return cross_entropy(logits, label).mean(1).sum(), (memory, {"accuracy": accuracy(logits, label)})

    learner = gradient_learner(init, loss, optax.adam(spec.learning_rate))
    evaluate = evaluate_models(domains, lambda state, context: state.params, own=True)
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def evaluate_models(
    domains: Domains, models: Callable[[Any, Any], Any], *, own: bool = False
) -> Callable[[Any, data.Images, Any], dict[str, jax.Array]]:
    """Scores over all tasks of `models(state, context)`, one model or, with `own`, one per task.

    `largest_share` is the share of a task's inputs that its most popular class is given, in the worst task: entropy
    also falls when it rises, and the digits are balanced at 0.1.
    """

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        params = models(state, context)
        image = domains.views(jnp.broadcast_to(split.image, (len(domains.names), *split.image.shape)))
        logits = (domains.own_logits if own else domains.logits)(params, image)
        right = (logits.argmax(-1) == split.label).mean(1)
        share = (logits.argmax(-1)[..., None] == jnp.arange(logits.shape[-1])).mean(1)
        label = jnp.broadcast_to(split.label, logits.shape[:-1])
        return {
            "accuracy": right.mean(),
            **{f"accuracy_{name}": right[k] for k, name in enumerate(domains.names)},
            "worst_task": right.min(),
            "nll": cross_entropy(logits, label).mean(),
            "largest_share": share.max(),
        }

    return evaluate
