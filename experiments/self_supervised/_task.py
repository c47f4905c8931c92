"""What the arms of pretraining share: an encoder, a projector, and a learner of the two."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from experiments.parts.checks import choose
from jaxlab import nets
from jaxlab.core import InputError, Learner, gradient_learner
from jaxlab.self_supervised import lars

Method = tuple[Learner, Callable, None]
FACTORS = ("place", "radius", "angle")  # of procedural images; no label tells them


class Task(NamedTuple):
    """What the arms share.

    Attributes:
      encoder: a net, whose last features are probed and whose logits are trained by `labels` alone.
      hidden: widths of the projector's hidden layers.
      image: `[1, H, W, C]`, an example.
      mean, spread: of the pixels.
      patch: side of the squares of pixels that the encoder sees as one with more channels, which makes it cheaper.
      num_classes: C.
      views: the amounts of `data.random_views`.
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
    views: Mapping[str, Any]
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

    def projector(self, settings: Any) -> Any:
        """From vectors `[B, F]` to outputs `[B, width]`; an arm may have other hidden layers."""
        return nets.Mlp(features=settings.get("hidden", self.hidden), num_classes=settings.width)

    def outputs(self, params: Any, views: jax.Array, settings: Any) -> jax.Array:
        """Of the projector, `[K, B, width]`, for views `[K, B, H, W, C]`."""
        _, vectors = self.features(params, views.reshape(-1, *views.shape[2:]))
        outputs = self.projector(settings).apply(params["projector"], vectors)
        return outputs.reshape(len(views), -1, settings.width)


def learned(
    task: Task,
    settings: Any,
    loss: Callable,
    *,
    projector: Any = None,
    more: Callable[[jax.Array, jax.Array], dict[str, Any]] = lambda key, outputs: {},
    remember: Callable[[Any], Any] = lambda params: None,
    after: Callable | None = None,
) -> Learner:
    """Encoder and projector, trained on a loss with a rate that warms up and falls by a cosine.

    Args:
      task: what the arms share.
      settings: of the arm.
      loss: as in `gradient_learner`.
      projector: in the place of the task's.
      more: from a key and outputs of an example, what else is trained, by name.
      remember: from the first parameters, the memory.
      after: as in `gradient_learner`.
    """
    projector = task.projector(settings) if projector is None else projector

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        encoder_key, projector_key = jax.random.split(key)
        (_, features), encoder = task.encoder.init_with_output(
            encoder_key, task.inputs(task.image), return_features=True
        )
        params = {"encoder": encoder, "projector": projector.init(projector_key, features[-1])}
        params |= more(jax.random.fold_in(key, 1), projector.apply(params["projector"], features[-1]))
        return params, remember(params)

    return gradient_learner(init, loss, _optimizer(settings, task.warm_up), after=after)


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


def factor(examples: Mapping[str, jax.Array], name: str) -> jax.Array:
    """A factor of images, `[B, A]`."""
    known = [own for own in FACTORS if own in examples]
    if name not in known:
        raise InputError(f"there is no factor {name!r}: these images have {', '.join(known) or 'none'}")
    return examples[name].reshape(len(examples["image"]), -1)
