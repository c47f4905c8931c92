"""Low-rank adapters as PEFT's folders, in and out."""

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._checkpoint_files import PROJECTIONS
from jaxlab.language._decoder import Decoder
from jaxlab.language._hugging_face_config import read_json, write_json
from jaxlab.language._layer_stack import unstacked
from jaxlab.language._lora import Adapters
from jaxlab.language._rope_pairs import reorder
from jaxlab.language._safetensors import Entry, read_entries, write_tensors
from jaxlab.language._tensor_names import float_dtype

_FILES = ("adapter_config.json", "adapter_model.safetensors")
_TENSOR = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.([a-z_.]+)\.lora_([AB])\.weight")
# Variants of LoRA whose adapters mean something else.
_REFUSED = (
    "use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save",
    "layers_to_transform", "layer_replication", "lora_bias", "alora_invocation_tokens",
)  # fmt: skip


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

    Args:
      folder: made if need be; adapters in it are overwritten.
      model: the shape they belong to; tells how rotary channels are ordered, which PEFT wants in halves.
      adapters: layers as a tuple or stacked.
      alpha: strength, the one given to `attach_lora`.
      base: name or folder of the base model, for PEFT's `base_model_name_or_path`.
      dtype: in the file.

    Raises:
      ValueError: adapters that do not fit the model.

    Reference: PEFT's checkpoint format.

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
    tensors, ranks = {}, set()
    for i, layer in enumerate(adapters):
        for target, adapter in layer.items():
            ranks.add(adapter["a"].shape[-1])
            b = _turned(model, target, jnp.asarray(adapter["b"]), "half")
            for part, array in (("A", adapter["a"]), ("B", b)):
                tensors[_tensor_name(i, target, part)] = np.asarray(array).T
    if len(adapters) != model.num_layers:
        raise ValueError(f"adapters have {len(adapters)} layers: the model has {model.num_layers}")
    targets = tuple(adapters[0])
    if len(ranks) != 1:
        raise ValueError(f"adapters have ranks {sorted(ranks)}: the format holds one for all")
    (rank,) = ranks
    _check_shapes("adapters", model, {name: x.shape for name, x in tensors.items()}, targets, rank)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {name: x.shape for name, x in tensors.items()}
    write_tensors(folder / _FILES[1], shapes, tensors.__getitem__, float_dtype(dtype))
    write_json(folder / _FILES[0], _adapter_config(targets, rank, alpha, base))


def load_lora(
    folder: str | os.PathLike[str], model: Decoder, *, dtype: Any = jnp.float32
) -> tuple[Adapters, float]:
    """Adapters that PEFT, or `save_lora`, has written.

    Args:
      folder: with `adapter_config.json` and `adapter_model.safetensors`.
      model: the shape they are for.
      dtype: of the adapters.

    Returns:
      The adapters, a tuple with one dict per layer, and alpha, for `attach_lora`.

    Raises:
      ValueError: a file that is missing or damaged, another method than LoRA, a variant of it (rank-stabilised,
        weight-decomposed, biases, several ranks), or adapters that do not fit the model.

    Reference: PEFT's checkpoint format.

    >>> load_lora("/nowhere", Decoder(vocab_size=5))
    Traceback (most recent call last):
    ValueError: /nowhere/adapter_config.json does not exist
    """
    folder, dtype = pathlib.Path(folder), float_dtype(dtype)
    rank, alpha = _read_adapter_config(folder / _FILES[0])
    entries = read_entries(folder / _FILES[1])
    modules = {match[2] for name in entries if (match := _TENSOR.fullmatch(name))}
    targets = tuple(target for target, module in PROJECTIONS.items() if module in modules)
    _check_shapes(folder, model, {name: entry.shape for name, entry in entries.items()}, targets, rank)

    def adapter(i: int, target: str) -> dict[str, jax.Array]:
        a, b = (_read_matrix(entries[_tensor_name(i, target, part)], dtype) for part in "AB")
        return {"a": a, "b": _turned(model, target, b, model.rope_pairs)}

    return tuple({target: adapter(i, target) for target in targets} for i in range(model.num_layers)), alpha


def _read_matrix(entry: Entry, dtype: np.dtype) -> jax.Array:
    return jnp.asarray(np.array(entry.read().T, dtype, order="C"))


def _turned(model: Decoder, target: str, b: jax.Array, pairs: str) -> jax.Array:
    """`b` with the channels of queries and keys in the order of `pairs`, between the files' and the model's order."""
    if target not in ("q", "k") or model.rope_pairs == "half":
        return b
    return reorder(b, model.head_dim, pairs)


def _tensor_name(layer: int, target: str, part: str) -> str:
    return f"base_model.model.model.layers.{layer}.{PROJECTIONS[target]}.lora_{part}.weight"


def _check_shapes(
    where: Any, model: Decoder, found: Mapping[str, tuple[int, ...]], targets: Sequence[str], rank: int
) -> None:
    expected = {}
    for i, shapes in enumerate(model.shapes()["layers"]):
        for target in targets:
            rows, columns = shapes[target]
            expected[_tensor_name(i, target, "A")] = (rank, rows)
            expected[_tensor_name(i, target, "B")] = (columns, rank)
    for name, shape in expected.items():
        if tuple(found.get(name, ())) != shape:
            have = f"is {tuple(found[name])}" if name in found else "is missing"
            raise ValueError(f"{where}: tensor {name} {have}, the model's shape asks for {shape}")
    unknown = sorted(set(found) - set(expected))
    if unknown or not expected:
        raise ValueError(
            f"{where}: tensor {(unknown or ['lora_A'])[0]} has no place in this model, or there is none"
        )


def _adapter_config(targets: Sequence[str], rank: int, alpha: float, base: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": [PROJECTIONS[target].rpartition(".")[2] for target in targets],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def _read_adapter_config(file: pathlib.Path) -> tuple[int, float]:
    config = read_json(file)
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        kind, bias = config.get("peft_type"), config.get("bias")
        raise ValueError(
            f"{file}: peft_type is {kind!r} and bias {bias!r}: only 'LORA' with 'none' is supported"
        )
    for key in _REFUSED:
        if config.get(key):
            raise ValueError(f"{file}: {key} is {config[key]!r}: not supported")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
        raise ValueError(
            f"{file}: r is {rank!r} and lora_alpha {alpha!r}: they must be a whole number and a number"
        )
    return rank, float(alpha)
