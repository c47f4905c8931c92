"""Low-rank adapters: drawn, attached, merged."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError
from jaxlab.language._checkpoint_files import PROJECTIONS
from jaxlab.language._decoder import Decoder
from jaxlab.language._layer_stack import unstacked
from jaxlab.language._layers import LowRank
from jaxlab.language._tensor_names import float_dtype

Adapters = Any

_ALL = "all-linear"


def init_lora(
    key: jax.Array,
    model: Decoder,
    *,
    rank: int,
    targets: Sequence[str] | str = ("q", "v"),
    dtype: Any = jnp.float32,
) -> Adapters:
    """Adapters that change nothing yet: `a` random, `b` zero.

        a ~ U(-1 / sqrt(in), 1 / sqrt(in)),  b = 0

    Args:
      key: randomness.
      model: the shape to adapt.
      rank: columns of `a`, at least 1.
      targets: which matrices: some of q, k, v, o, gate, up, down, or "all-linear", which is all of them.
      dtype: of the adapters.

    Returns:
      A tuple with one dict per layer: target -> `{"a": [in, rank], "b": [rank, out]}`.

    Raises:
      ValueError: an unknown or repeated target, or a rank below 1.

    Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, section 4.1, which draws `a` from
      a normal distribution; the authors' code and PEFT draw it uniformly, as here.

    >>> adapters = init_lora(jax.random.key(0), Decoder(vocab_size=5, width=8, num_heads=2), rank=3, targets=("q",))
    >>> len(adapters), adapters[0]["q"]["a"].shape, adapters[0]["q"]["b"].shape
    (2, (8, 3), (3, 8))
    """
    if not isinstance(rank, int | np.integer) or rank < 1:
        raise InputError(f"rank is {rank}: it must be a whole number, at least 1")
    targets = _named(targets)
    dtype = float_dtype(dtype)

    def draw(key: jax.Array, shape: tuple[int, int]) -> dict[str, jax.Array]:
        bound = shape[0] ** -0.5
        a = jax.random.uniform(key, (shape[0], rank), jnp.float32, -bound, bound)
        return {"a": a.astype(dtype), "b": jnp.zeros((rank, shape[1]), dtype)}

    shapes = model.shapes()["layers"]
    keys = jax.random.split(key, (len(shapes), len(targets)))
    return tuple(
        {name: draw(keys[i, j], shape[name]) for j, name in enumerate(targets)}
        for i, shape in enumerate(shapes)
    )


def _named(targets: Sequence[str] | str) -> tuple[str, ...]:
    """The matrices that `targets` stand for; what a command line splits into words is a list of one."""
    if targets == _ALL or tuple(targets) == (_ALL,):
        return tuple(PROJECTIONS)
    known = not isinstance(targets, str) and set(targets) <= set(PROJECTIONS)
    if not known or not targets or len(set(targets)) < len(targets):
        raise InputError(
            f"targets are {targets!r}: they must be a list of some of {', '.join(PROJECTIONS)}, each once, or {_ALL!r}"
        )
    return tuple(targets)


def attach_lora(params: Mapping[str, Any], adapters: Adapters, *, alpha: float) -> dict[str, Any]:
    """Parameters in which every adapted matrix is a `LowRank`: `weight + alpha / rank * a @ b`.

    For training, differentiate a function of the adapters that attaches them inside: the weights, a constant there,
    then get no gradient and need no optimizer state.

        y = x W + (alpha / rank) (x a) b

    Args:
      params: a `Decoder`'s; layers as a tuple or stacked.
      adapters: of as many layers, as a tuple or stacked; dicts target -> `{"a", "b"}`.
      alpha: strength; PEFT's `lora_alpha`.

    Returns:
      A dict that every method of the `Decoder` accepts, stacked when `params` are; other entries are shared.

    Raises:
      ValueError: adapters that do not fit the parameters, or parameters that already carry adapters.

    Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, equation 3.

    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2)
    >>> params = model.init(jax.random.key(0))
    >>> tuned = attach_lora(params, init_lora(jax.random.key(1), model, rank=2), alpha=4.0)
    >>> type(tuned["layers"][0]["q"]).__name__, float(tuned["layers"][0]["q"].scale)
    ('LowRank', 2.0)
    """
    layers, stacked = params["layers"], isinstance(params["layers"], Mapping)
    if stacked and not isinstance(adapters, Mapping):
        if len({jax.tree.structure(layer) for layer in adapters}) > 1:
            raise InputError("adapters differ from layer to layer: attach them to layers in a tuple")
        adapters = jax.tree.map(lambda *x: jnp.stack(x), *adapters)
    if stacked:
        return {**params, "layers": _attach(layers, adapters, alpha)}
    adapters = unstacked(adapters)
    if len(adapters) != len(layers):
        raise InputError(f"adapters have {len(adapters)} layers: params have {len(layers)}")
    return {**params, "layers": tuple(_attach(*pair, alpha) for pair in zip(layers, adapters))}


def _attach(layer: Mapping[str, Any], adapters: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    adapted = dict(layer)
    for name, adapter in adapters.items():
        weight, a, b = layer.get(name), adapter["a"], adapter["b"]
        if not hasattr(weight, "shape"):
            found = "missing or packed" if weight is None else "already adapted: call merge_lora first"
            raise InputError(f"the matrix {name} to adapt is {found}")
        *lead, rows, columns = weight.shape
        rank = a.shape[-1]
        if a.shape != (*lead, rows, rank) or b.shape != (*lead, rank, columns):
            raise InputError(
                f"adapter of {name}: a {a.shape} @ b {b.shape} must be like the weight, {weight.shape}"
            )
        adapted[name] = LowRank(weight, a, b, jnp.full(tuple(lead), alpha / rank, as_float(a).dtype))
    return adapted


def merge_lora(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same function without adapters: each `LowRank` becomes the one matrix that acts alike.

        W' = W + (alpha / rank) a b

    Args:
      params: from `attach_lora`; layers as a tuple or stacked. Without adapters they come back as they are.

    Returns:
      Parameters of plain arrays; those that had an adapter in float32 or wider. Cast to half precision, they keep
      little of a small correction.

    Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, section 4.1, no additional
      inference latency.

    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2)
    >>> tuned = attach_lora(
    ...     model.init(jax.random.key(0)), init_lora(jax.random.key(1), model, rank=2), alpha=4.0
    ... )
    >>> merge_lora(tuned)["layers"][0]["q"].shape
    (8, 8)
    """
    is_adapter = lambda node: isinstance(node, LowRank)
    return jax.tree.map(
        lambda node: _merged(node) if is_adapter(node) else node, dict(params), is_leaf=is_adapter
    )


def _merged(matrix: LowRank) -> jax.Array:
    merge = jax.vmap(LowRank.merged) if matrix.weight.ndim == 3 else LowRank.merged
    return merge(matrix)
