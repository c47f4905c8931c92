"""What an encoder learns from: one function per method, found by name in `METHODS`.

Each takes the task and an arm's settings and gives the learner, the evaluation and the export. Encoder and projector
start from the same parameters in all. There is no batch norm in the projector, where the papers have it: in this
library no net's output depends on its neighbours in the batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from experiments.parts.checks import choose
from experiments.parts.chunks import in_chunks
from jaxlab import nets
from jaxlab.core import Learner, cross_entropy, gradient_learner, standardize_batch
from jaxlab.metrics import accuracy, effective_rank, knn_probe, linear_probe
from jaxlab.self_supervised import barlow_twins_loss, lars

Method = tuple[Learner, Callable, None]


class Task(NamedTuple):
    """What the arms share.

    Attributes:
      encoder: a net, whose last features are probed and whose logits are trained by `labels` alone.
      hidden: widths of the projector's hidden layers.
      image: `[1, H, W, C]`, an example.
      mean, spread: of the pixels.
      patch: side of the squares of pixels that the encoder sees as one with more channels, which makes it cheaper.
      num_classes: C.
      probe: the settings of the probes that are the same for all arms.
      warm_up: share of the steps.
    """

    encoder: Any
    hidden: tuple[int, ...]
    image: jax.Array
    mean: float
    spread: float
    patch: int
    num_classes: int
    probe: Any
    warm_up: float

    def features(self, params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Class logits and the vectors `[B, F]` that are probed."""
        logits, features = self.encoder.apply(params["encoder"], self.inputs(images), return_features=True)
        return logits, features[-1]

    def inputs(self, images: jax.Array) -> jax.Array:
        """What the encoder sees, `[B, H / patch, W / patch, C patch^2]`."""
        batch, height, width, channels = images.shape
        rows, columns = height // self.patch, width // self.patch
        squares = images.reshape(batch, rows, self.patch, columns, self.patch, channels).swapaxes(2, 3)
        return (squares.reshape(batch, rows, columns, -1) - self.mean) / self.spread

    def projector(self, width: int) -> nets.Mlp:
        """From vectors to outputs of `width`."""
        return nets.Mlp(features=self.hidden, num_classes=width)


def barlow_twins(task: Task, settings: Any) -> Method:
    """Redundancy reduction between two views."""
    projector = task.projector(settings.width)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        views = batch["views"]
        _, vectors = task.features(params, views.reshape(-1, *views.shape[2:]))
        outputs = projector.apply(params["projector"], vectors)
        z1, z2 = outputs.reshape(2, -1, settings.width)
        value, terms = barlow_twins_loss(z1, z2, off_diagonal_weight=settings.off_diagonal_weight)
        return value, (memory, terms._asdict())

    return _learned(task, settings, loss), _evaluate(task, settings), None


def labels(task: Task, settings: Any) -> Method:
    """The ceiling: the same encoder and views, and every label."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits, _ = task.features(params, batch["views"][0])
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        return cross_entropy(logits, batch["label"]).mean(), (memory, metrics)

    return _learned(task, settings, loss), _evaluate(task, settings), None


def untrained(task: Task, settings: Any) -> Method:
    """The floor: an encoder as it was drawn, or with `probe_on = "pixels"` none at all. Takes no step."""
    return labels(task, settings)


METHODS: dict[str, Callable[[Task, Any], Method]] = {
    "barlow_twins": barlow_twins,
    "labels": labels,
    "untrained": untrained,
}
UNTRAINED = ("untrained",)  # methods that take no step


def _learned(task: Task, settings: Any, loss: Callable) -> Learner:
    """Encoder and projector, trained on a loss with a rate that warms up and falls by a cosine."""

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        encoder_key, projector_key = jax.random.split(key)
        (_, features), encoder = task.encoder.init_with_output(
            encoder_key, task.inputs(task.image), return_features=True
        )
        return {
            "encoder": encoder,
            "projector": task.projector(settings.width).init(projector_key, features[-1]),
        }, None

    return gradient_learner(init, loss, _optimizer(settings, task.warm_up))


def _optimizer(settings: Any, warm_up: float) -> optax.GradientTransformation:
    steps = max(settings.steps, 1)
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, round(warm_up * steps), steps, end_value=1e-3)
    rate = lambda step: settings.learning_rate * shape(step)
    return choose("optimizer", settings.optimizer, OPTIMIZERS)(rate, settings.weight_decay)


# From a rate by step and a weight decay; LARS has 0.0048 of the base rate for biases where weights have 0.2.
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay),
    "lars": lambda rate, decay: lars(
        rate, vector_learning_rate=lambda step: 0.024 * rate(step), weight_decay=decay
    ),
}


def _evaluate(task: Task, settings: Any) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    """Probes of the frozen encoder from a few labels, and in how many directions its vectors and outputs vary."""

    def read(params: Any, images: jax.Array) -> jax.Array:
        if settings.probe_on == "pixels":
            return images.reshape(len(images), -1)
        return in_chunks(lambda part: task.features(params, part)[1], images)

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        train, score = split["train"], split["score"]
        label = train.label[split["few"]]
        known, asked = read(state.params, train.image[split["few"]]), read(state.params, score.image)
        linear = linear_probe(
            known, label, asked, num_classes=task.num_classes, steps=task.probe.steps,
            learning_rate=task.probe.learning_rate, weight_decay=settings.probe_decay,
        )  # fmt: skip
        votes = knn_probe(known, label, asked, num_classes=task.num_classes, neighbors=task.probe.neighbors)
        measured = {
            "probe_accuracy": accuracy(linear, score.label),
            "knn_accuracy": accuracy(votes, score.label),
            "feature_rank": effective_rank(asked),
        }
        if settings.probe_on == "features":
            outputs = task.projector(settings.width).apply(state.params["projector"], asked)
            measured["output_rank"] = effective_rank(standardize_batch(outputs))
        return measured

    return evaluate
