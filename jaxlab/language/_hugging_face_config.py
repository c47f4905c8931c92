"""A decoder's shape as transformers' `config.json` says it, and what a decoder cannot do, refused."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._config_keys import ARCHITECTURES, CONFIG_KEYS, DEFAULTS
from jaxlab.language._decoder import Decoder
from jaxlab.language._key_rules import check_keys, kept, shown
from jaxlab.language._rope_config import longest, read_rope, written_rope
from jaxlab.language._safetensors import replacing


def read_json(file: pathlib.Path) -> dict[str, Any]:
    """A JSON object."""
    if not file.is_file():
        raise InputError(f"{file} does not exist")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} holds {type(content).__name__}: it must be a JSON object")
    return content


def write_json(file: pathlib.Path, content: Mapping[str, Any]) -> None:
    """A JSON object, whole or not at all."""
    with replacing(file) as stream:
        stream.write((json.dumps(content, indent=2) + "\n").encode())


def read_config(file: pathlib.Path) -> Decoder:
    """The shape of a model; every key of the file is judged by the tables of `_config_keys`."""
    config = read_json(file)
    kind = architecture(file, config)
    check_keys(file, config, CONFIG_KEYS[kind])
    _check_layer_types(file, config)
    # Null asks for as many as query heads; where the key is absent, transformers has a number of its own.
    kv_heads = config.get("num_key_value_heads", DEFAULTS[kind]["num_key_value_heads"])
    config = DEFAULTS[kind] | {key: value for key, value in config.items() if value is not None}
    width, heads = _whole(file, config, "hidden_size"), _whole(file, config, "num_attention_heads")
    own = {
        "num_key_value_heads": heads if kv_heads is None else kv_heads,
        "head_dim": config.get("head_dim", width // max(heads, 1)),
    }
    context = _whole(file, config, "max_position_embeddings")
    base, scaling = read_rope(file, config, context)
    try:
        return Decoder(
            vocab_size=_whole(file, config, "vocab_size"),
            width=width,
            num_layers=_whole(file, config, "num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=_whole(file, own, "num_key_value_heads"),
            head_dim=_whole(file, own, "head_dim"),
            mlp_width=_whole(file, config, "intermediate_size"),
            context=longest(context, scaling),
            rope_base=base,
            rope_scaling=scaling,
            norm_eps=_positive(file, config, "rms_norm_eps"),
            qkv_bias=kind == "qwen2",
            qk_norm=kind == "qwen3",
            tied=_boolean(file, config, "tie_word_embeddings"),
        )
    except InputError as error:
        raise InputError(str(error) if str(file) in str(error) else f"{file}: {error}") from None


def _whole(file: pathlib.Path, config: Mapping[str, Any], key: str) -> int:
    if type(config[key]) is not int:
        raise InputError(f"{file}: {key} is {shown(config[key])}: it must be a whole number")
    return config[key]


def _positive(file: pathlib.Path, config: Mapping[str, Any], key: str) -> float:
    if type(config[key]) not in (int, float) or not 0 < config[key] < math.inf:
        raise InputError(f"{file}: {key} is {shown(config[key])}: it must be a positive number")
    return float(config[key])


def _boolean(file: pathlib.Path, config: Mapping[str, Any], key: str) -> bool:
    if type(config[key]) is not bool:
        raise InputError(f"{file}: {key} is {shown(config[key])}: it must be true or false")
    return config[key]


def architecture(file: pathlib.Path, config: Mapping[str, Any]) -> str:
    """Llama, Qwen2 or Qwen3, by transformers' `model_type`."""
    names = config.get("architectures")
    if not names and config.get("model_type") in ARCHITECTURES.values():
        return config["model_type"]
    if names not in [[name] for name in ARCHITECTURES]:
        raise InputError(
            f"{file}: architectures is {shown(names)}: it must be one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[names[0]]


def _check_layer_types(file: pathlib.Path, config: Mapping[str, Any]) -> None:
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list):
        raise InputError(f"{file}: layer_types is {shown(kinds)}: it must be a list")
    for kind in kinds:
        if kind not in ("full_attention", "attention"):  # the older name
            raise InputError(f"{file}: layer_types holds {kind!r}: only 'full_attention' is supported")


def config_of(model: Decoder, dtype: np.dtype, before: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` says about a model; of the one `before`, what changes nothing is kept, and the ends are."""
    if model.qk_norm and model.qkv_bias:
        raise InputError("a decoder with both qk_norm and qkv_bias has no architecture in transformers")
    kind = "qwen3" if model.qk_norm else "qwen2" if model.qkv_bias else "llama"
    same = {key: value for key, value in kept(before, CONFIG_KEYS[kind]).items() if key != "dtype"}
    # Of a configuration that is written anew: Llama's default in transformers is 1 and 2.
    ends = {"eos_token_id": before["eos_token_id"]} if "eos_token_id" in before else {}
    ends = ends if before else {"bos_token_id": None, "eos_token_id": None}
    return {
        "architectures": [next(name for name, of in ARCHITECTURES.items() if of == kind)],
        "model_type": kind,
        "vocab_size": model.vocab_size,
        "hidden_size": model.width,
        "intermediate_size": model.mlp_width,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_eps,
        **written_rope(model),
        "tie_word_embeddings": model.tied,
        **ends,
        **same,
        "torch_dtype": dtype.name,
    }
