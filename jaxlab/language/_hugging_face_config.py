"""A decoder's shape as transformers' `config.json` says it, and what a decoder cannot do, refused."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlab.language._decoder import Decoder
from jaxlab.language._safetensors import replacing

_ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
# What a decoder cannot do, and the only values with which a configuration does not ask for it.
_ONLY = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1.0,),
    "rope_interleaved": (False,),
    "quantization_config": (),
}


def read_json(file: pathlib.Path) -> dict[str, Any]:
    """A JSON object."""
    if not file.is_file():
        raise ValueError(f"{file} does not exist")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds {type(content).__name__}: it must be a JSON object")
    return content


def write_json(file: pathlib.Path, content: Mapping[str, Any]) -> None:
    """A JSON object, whole or not at all."""
    with replacing(file) as stream:
        stream.write((json.dumps(content, indent=2) + "\n").encode())


def read_config(file: pathlib.Path) -> Decoder:
    """The shape of a model, every setting that matters checked."""
    config = read_json(file)
    kind = _kind(file, config)
    _refuse(file, config)

    width, heads = _whole(file, config, "hidden_size"), _whole(file, config, "num_attention_heads")
    rope = config.get("rope_parameters") or {}
    config = {**config, "rope_theta": rope.get("rope_theta", config.get("rope_theta"))}
    try:
        return Decoder(
            vocab_size=_whole(file, config, "vocab_size"),
            width=width,
            num_layers=_whole(file, config, "num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=_whole(file, config, "num_key_value_heads", heads),
            head_dim=_whole(file, config, "head_dim", 128 if kind == "qwen3" else width // max(heads, 1)),
            mlp_width=_whole(file, config, "intermediate_size"),
            context=_whole(file, config, "max_position_embeddings", 2048 if kind == "llama" else 32768),
            rope_base=_positive(file, config, "rope_theta", 10_000.0),
            norm_epsilon=_positive(file, config, "rms_norm_eps", 1e-6),
            qkv_bias=kind == "qwen2",
            qk_norm=kind == "qwen3",
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except ValueError as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from None


def _whole(file: pathlib.Path, config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = default if config.get(key) is None else config[key]
    if type(value) is not int:
        raise ValueError(f"{file}: {key} is {value!r}: it must be a whole number")
    return value


def _positive(file: pathlib.Path, config: Mapping[str, Any], key: str, default: float) -> float:
    value = default if config.get(key) is None else config[key]
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{file}: {key} is {value!r}: it must be a positive number")
    return float(value)


def _kind(file: pathlib.Path, config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    if not names and config.get("model_type") in _ARCHITECTURES.values():
        return config["model_type"]
    if names not in [[name] for name in _ARCHITECTURES]:
        raise ValueError(f"{file}: architectures is {names}: it must be one of {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[names[0]]


def _refuse(file: pathlib.Path, config: Mapping[str, Any]) -> None:
    """One line about the first setting that a decoder would silently get wrong."""
    for key, allowed in _ONLY.items():
        if config.get(key) is not None and config[key] not in allowed:
            only = f"only {allowed[0]!r} is supported" if allowed else "not supported"
            raise ValueError(f"{file}: {key} is {config[key]!r}: {only}")
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, Mapping) else rope
        if kind != "default" or rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise ValueError(f"{file}: {key} is {rope}: only plain rotary positions are supported")
    for kind in config.get("layer_types") or ():
        if kind != "full_attention":
            raise ValueError(f"{file}: layer_types holds {kind!r}: only 'full_attention' is supported")


def config_of(model: Decoder, dtype: np.dtype) -> dict[str, Any]:
    """What `config.json` says about a model."""
    if model.qk_norm and model.qkv_bias:
        raise ValueError("a decoder with both qk_norm and qkv_bias has no architecture in transformers")
    kind = "qwen3" if model.qk_norm else "qwen2" if model.qkv_bias else "llama"
    return {
        "architectures": [next(name for name, of in _ARCHITECTURES.items() if of == kind)],
        "model_type": kind,
        "vocab_size": model.vocab_size,
        "hidden_size": model.width,
        "intermediate_size": model.mlp_width,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": model.context,
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": model.rope_base,
        "tie_word_embeddings": model.tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": dtype.name,
    }
