"""Rotary positions as transformers' configurations say them: `rope_theta`, `rope_scaling`, `rope_parameters`."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxlab.core.check import InputError
from jaxlab.language._config_keys import ROPE_KEYS
from jaxlab.language._decoder import Decoder
from jaxlab.language._key_rules import check_keys, shown
from jaxlab.language._rope_scaling import RopeScaling


def read_rope(
    file: pathlib.Path, config: Mapping[str, Any], context: int
) -> tuple[float, RopeScaling | None]:
    """The base of the frequencies and how they are scaled; `context` is `max_position_embeddings`."""
    name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(name) or {}
    where = f"{file}: {name}"
    if not isinstance(rope, Mapping):
        raise InputError(f"{where} is {shown(rope)}: it must be a JSON object")
    kind = rope.get("rope_type", rope.get("type", "default"))
    kind = "default" if kind is None else kind
    if kind not in list(ROPE_KEYS) or rope.get("type", kind) != kind:
        raise InputError(
            f"{where} is {shown(dict(rope))}: its rope_type must be one of {', '.join(ROPE_KEYS)}"
        )
    check_keys(where, rope, ROPE_KEYS[kind])
    said = {key: value for key, value in rope.items() if value is not None}
    theta = said.get("rope_theta", config["rope_theta"])
    base = _positive(where if "rope_theta" in said else str(file), "rope_theta", theta)
    if kind == "default":
        return base, None
    try:
        return base, _scaling(where, kind, said, context)
    except InputError as error:
        raise InputError(str(error) if str(file) in str(error) else f"{where}: {error}") from None


def _scaling(where: str, kind: str, said: Mapping[str, Any], context: int) -> RopeScaling:
    def number(key: str, default: float | None = None) -> float:
        return _positive(where, key, said.get(key, default))

    original = said.get("original_max_position_embeddings", context)
    if type(original) is not int:
        raise InputError(
            f"{where}: original_max_position_embeddings is {shown(original)}: it must be a whole number"
        )
    if kind == "linear":
        return RopeScaling(kind, number("factor"))
    if kind == "dynamic":
        return RopeScaling(kind, number("factor"), context)
    if kind == "llama3":
        low, high = number("low_freq_factor"), number("high_freq_factor")
        return RopeScaling(
            kind, number("factor"), original, low_frequency_factor=low, high_frequency_factor=high
        )
    factor = number("factor", context / max(original, 1))
    attention = number("attention_factor") if "attention_factor" in said else None
    if kind == "longrope":
        short, long = (_numbers(where, key, said.get(key)) for key in ("short_factor", "long_factor"))
        return RopeScaling(
            kind, factor, original, attention_factor=attention, short_factors=short, long_factors=long
        )
    truncate = said.get("truncate", True)
    if type(truncate) is not bool:
        raise InputError(f"{where}: truncate is {shown(truncate)}: it must be true or false")
    if attention is None and said.get("mscale") and said.get("mscale_all_dim"):
        attention = _strength(factor, number("mscale")) / _strength(factor, number("mscale_all_dim"))
    fast, slow = (  # zero means the default in transformers
        number(key, default) if said.get(key, default) else default
        for key, default in (("beta_fast", 32.0), ("beta_slow", 1.0))
    )
    return RopeScaling(
        kind, factor, original, beta_fast=fast, beta_slow=slow, truncate=truncate, attention_factor=attention
    )


def _strength(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _positive(where: str, key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise InputError(f"{where}: {key} is {shown(value)}: it must be a positive number")
    return float(value)


def _numbers(where: str, key: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise InputError(f"{where}: {key} is {shown(values)}: it must be a list of numbers")
    return tuple(_positive(where, key, value) for value in values)


def longest(context: int, scaling: RopeScaling | None) -> int:
    """The longest sequence, where the configuration's `max_position_embeddings` is `context`.

    Linear and dynamic scaling stretch that number, and YaRN is often switched on without raising it.
    """
    if scaling is None or scaling.kind not in ("linear", "dynamic", "yarn"):
        return context
    stretched = scaling.original_context if scaling.kind == "yarn" else context
    return max(context, int(scaling.factor * stretched))


def written_rope(model: Decoder) -> dict[str, Any]:
    """The keys of `config.json` that speak of positions, as transformers 4 and 5 read them."""
    scaling, context = model.rope_scaling, model.context
    if scaling is None:
        return {"max_position_embeddings": context, "rope_theta": model.rope_base}
    rope: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "dynamic":
        context = scaling.original_context
    if scaling.kind == "linear":
        context = math.ceil(context / max(scaling.factor, 1.0) - 1e-9)
    if scaling.kind in ("yarn", "llama3", "longrope"):
        rope["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        rope["low_freq_factor"] = scaling.low_frequency_factor
        rope["high_freq_factor"] = scaling.high_frequency_factor
    if scaling.kind == "yarn":
        rope |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        rope |= {} if scaling.truncate else {"truncate": False}
    if scaling.kind == "longrope":
        rope |= {"short_factor": list(scaling.short_factors), "long_factor": list(scaling.long_factors)}
    if scaling.kind in ("yarn", "longrope") and scaling.attention_factor is not None:
        rope["attention_factor"] = scaling.attention_factor
    elif scaling.amplitude != 1 and scaling.kind not in ("yarn", "longrope"):
        factor = scaling.attention_factor
        raise InputError(
            f"rope scaling {scaling.kind!r} with attention_factor {factor} has no name in transformers"
        )
    return {"max_position_embeddings": context, "rope_theta": model.rope_base, "rope_scaling": rope}
