"""Low-rank adapters as PEFT's folders, in and out."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._adapter_config import AdapterConfig, adapter_config, module_name, read_adapter_config
from jaxlab.language._checkpoint_files import PROJECTIONS
from jaxlab.language._decoder import Decoder
from jaxlab.language._hugging_face_config import write_json
from jaxlab.language._layer_stack import unstacked
from jaxlab.language._lora import Adapters
from jaxlab.language._rope_pairs import reorder
from jaxlab.language._safetensors import Entry, read_entries, write_tensors
from jaxlab.language._tensor_names import float_dtype

_FILES = ("adapter_config.json", "adapter_model.safetensors")
_TENSOR = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.([a-z_.]+)\.lora_([AB])\.weight")


def save_lora(
    folder: str | os.PathLike[str],
    model: Decoder,
    adapters: Adapters,
    *,
    alpha: float,
    base: str = "",
    dtype: Any = jnp.float32,
) -> None:
    """Write adapters as a folder that PEFT loads onto the same model in `transformers`.

    Ranks and adapted matrices may differ from layer to layer. Keys of a configuration that is there already stay if
    they do not speak of the adapters' mathematics.

    Args:
      folder: made if need be; adapters in it are overwritten.
      model: the shape they belong to; tells how rotary channels are ordered, which PEFT wants in halves.
      adapters: layers as a tuple or stacked.
      alpha: strength, the one given to `attach_lora`.
      base: name or folder of the base model, for PEFT's `base_model_name_or_path`; "" keeps what is there.
      dtype: in the file.

    Raises:
      ValueError: adapters that do not fit the model.

    >>> import tempfile
    >>> from jaxlab.language import init_lora
    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_lora(folder, model, init_lora(jax.random.key(0), model, rank=2), alpha=4.0)
    ...     adapters, alpha = load_lora(folder, model)
    >>> adapters[0]["v"]["b"].shape, alpha
    ((2, 8), 4.0)
    """
    folder, adapters = pathlib.Path(folder), unstacked(adapters)
    tensors, ranks = {}, {}
    for i, layer in enumerate(adapters):
        for target, adapter in layer.items():
            ranks[i, target] = adapter["a"].shape[-1]
            b = _turned(model, target, jnp.asarray(adapter["b"]), "half")
            for part, array in (("A", adapter["a"]), ("B", b)):
                tensors[_tensor_name(i, target, part)] = np.asarray(array).T
    if len(adapters) != model.num_layers:
        raise InputError(f"adapters have {len(adapters)} layers: the model has {model.num_layers}")
    shapes = {name: x.shape for name, x in tensors.items()}
    _check_shapes("adapters", model, shapes, ranks)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / _FILES[1], shapes, tensors.__getitem__, float_dtype(dtype))
    write_json(folder / _FILES[0], adapter_config(folder / _FILES[0], model.num_layers, ranks, alpha, base))


def load_lora(
    folder: str | os.PathLike[str], model: Decoder, *, dtype: Any = jnp.float32
) -> tuple[Adapters, float]:
    """Adapters that PEFT, or `save_lora`, has written.

    Ranks and alphas by module, rank-stabilised scaling and a choice of layers are honoured: what goes beyond one
    alpha for all is in the adapters' `b`. Keys that are not known to be honoured or to change nothing are refused;
    `docs/model_files.md` lists them.

    Args:
      folder: with `adapter_config.json` and `adapter_model.safetensors`.
      model: the shape they are for.
      dtype: of the adapters.

    Returns:
      The adapters, a tuple with one dict per layer, and alpha, for `attach_lora`.

    Raises:
      ValueError: a file that is missing or damaged, another method than LoRA, a variant of it (weight-decomposed,
        biases, whole modules, a start that changes the weights), or adapters that do not fit the model or the
        configuration.

    >>> load_lora("/nowhere", Decoder(vocab_size=5))
    Traceback (most recent call last):
    jaxlab.core.InputError: /nowhere/adapter_config.json does not exist
    """
    folder, dtype = pathlib.Path(folder), float_dtype(dtype)
    config = read_adapter_config(folder / _FILES[0])
    entries = read_entries(folder / _FILES[1])
    modules = _modules(folder, model, config, entries)
    _check_shapes(folder, model, {name: entry.shape for name, entry in entries.items()}, modules)

    def adapter(i: int, target: str) -> dict[str, jax.Array]:
        a, b = (entries[_tensor_name(i, target, part)].read().T for part in "AB")
        strength = config.strength(module_name(i, target))
        b = b if strength == 1 else np.float32(strength) * b.astype(np.float32)
        return {"a": _owned(a, dtype), "b": _turned(model, target, _owned(b, dtype), model.rope_pairs)}

    layers = range(model.num_layers)
    return tuple({t: adapter(i, t) for t in PROJECTIONS if (i, t) in modules} for i in layers), config.alpha


def _modules(
    folder: pathlib.Path, model: Decoder, config: AdapterConfig, entries: Mapping[str, Entry]
) -> dict[tuple[int, str], int]:
    """The rank of each adapted matrix, by layer and target: those with tensors, which the configuration must name."""
    targets = {module: target for target, module in PROJECTIONS.items()}
    matches = filter(None, map(_TENSOR.fullmatch, entries))
    found = {(int(match[1]), targets[match[2]]) for match in matches if match[2] in targets}
    modules = {}
    for i in range(model.num_layers):
        for target in PROJECTIONS:
            name, named = module_name(i, target), config.adapts(module_name(i, target))
            if (i, target) in found and not named:
                raise InputError(f"{folder}: {name} has adapters, and {_FILES[0]} says that it has none")
            if named:
                modules[i, target] = config.rank(name)
    return modules


def _owned(array: np.ndarray, dtype: np.dtype) -> jax.Array:
    return jnp.asarray(np.array(array, dtype, order="C"))


def _turned(model: Decoder, target: str, b: jax.Array, pairs: str) -> jax.Array:
    """`b` with the channels of queries and keys in the order of `pairs`, between the files' and the model's order."""
    if target not in ("q", "k") or model.rope_pairs == "half":
        return b
    return reorder(b, model.head_dim, pairs)


def _tensor_name(layer: int, target: str, part: str) -> str:
    return f"base_model.model.{module_name(layer, target)}.lora_{part}.weight"


def _check_shapes(
    where: Any, model: Decoder, found: Mapping[str, tuple[int, ...]], ranks: Mapping[tuple[int, str], int]
) -> None:
    expected, shapes = {}, model.shapes()["layers"]
    for (i, target), rank in ranks.items():
        rows, columns = shapes[i][target]
        expected[_tensor_name(i, target, "A")] = (rank, rows)
        expected[_tensor_name(i, target, "B")] = (columns, rank)
    for name, shape in expected.items():
        if tuple(found.get(name, ())) != shape:
            have = f"is {tuple(found[name])}" if name in found else "is missing"
            raise InputError(f"{where}: tensor {name} {have}, the model's shape asks for {shape}")
    unknown = sorted(set(found) - set(expected))
    if unknown or not expected:
        raise InputError(
            f"{where}: tensor {(unknown or ['lora_A'])[0]} has no place in this model, or there is none"
        )
