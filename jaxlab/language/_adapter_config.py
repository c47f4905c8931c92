"""PEFT's `adapter_config.json` for LoRA: which matrices are adapted, of what rank, how strongly."""

import math
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxlab.core.check import InputError
from jaxlab.language._adapter_keys import ADAPTER_KEYS
from jaxlab.language._checkpoint_files import PROJECTIONS
from jaxlab.language._hugging_face_config import read_json
from jaxlab.language._key_rules import check_keys, kept, shown

# What PEFT takes for the architectures here where a file says nothing.
_DEFAULTS = {"r": 8, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


class AdapterConfig(NamedTuple):
    """What a configuration says of each module, `model.layers.3.self_attn.q_proj` say.

    Attributes:
      alpha: the strength for all modules, as `attach_lora` takes it.
      said: the keys that are not null.
    """

    alpha: float
    said: Mapping[str, Any]

    def rank(self, module: str) -> int:
        """The rank of a module."""
        return self._by_module("rank_pattern", module, "r")

    def strength(self, module: str) -> float:
        """By what the module's `b` is multiplied, so that `alpha / rank` is right for it."""
        rank, alpha = self.rank(module), self._by_module("alpha_pattern", module, "lora_alpha")
        scale = alpha / (math.sqrt(rank) if self.said.get("use_rslora") else rank)
        strength = scale * rank / self.alpha
        return 1.0 if math.isclose(strength, 1.0, rel_tol=1e-12) else strength

    def adapts(self, module: str) -> bool:
        """Whether the module is named."""
        targets, excluded = self.said["target_modules"], self.said.get("exclude_modules")
        if excluded and _names(excluded, module):
            return False
        if isinstance(targets, str) and targets.lower() == "all-linear":
            return True
        if not _names(targets, module):
            return False
        layers = self.said.get("layers_to_transform")
        if layers is None or layers == [] or isinstance(targets, str) or module in targets:
            return True
        return _layer(self.said.get("layers_pattern"), module) in (
            [layers] if type(layers) is int else layers
        )

    def _by_module(self, patterns: str, module: str, default: str) -> Any:
        for pattern, value in self.said.get(patterns, {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        return self.said[default]


def _names(targets: str | Collection[str], module: str) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return module in targets or any(module.endswith(f".{target}") for target in targets)


def _layer(patterns: Any, module: str) -> int | None:
    """The number of the layer, as PEFT finds it in a module's name."""
    patterns = [patterns] if isinstance(patterns, str) else patterns or [r"[^.]*"]
    found = filter(None, (re.match(rf"(?:^|.*?\.){each}\.(\d+)\.", module) for each in patterns))
    return next((int(match[1]) for match in found), None)


def module_name(layer: int, target: str) -> str:
    """The name of a matrix's module in transformers."""
    return f"model.layers.{layer}.{PROJECTIONS[target]}"


def read_adapter_config(file: pathlib.Path) -> AdapterConfig:
    """The configuration, every key of it judged."""
    config = read_json(file)
    if config.get("peft_type") != "LORA":
        raise InputError(f"{file}: peft_type is {config.get('peft_type')!r}: only 'LORA' is supported")
    check_keys(file, config, ADAPTER_KEYS)
    said = _DEFAULTS | {key: value for key, value in config.items() if value is not None}
    _check_types(file, said)
    alpha = float(said["lora_alpha"])
    return AdapterConfig(alpha * (math.sqrt(said["r"]) if said.get("use_rslora") else 1.0), said)


def _check_types(file: pathlib.Path, said: Mapping[str, Any]) -> None:
    """One line about a value of the wrong kind."""
    whole = lambda value: type(value) is int and value >= 1
    number = lambda value: type(value) in (int, float) and 0 < abs(value) < math.inf
    texts = lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value)
    numbers = lambda value: isinstance(value, list) and all(type(each) is int for each in value)
    by_module = lambda good: lambda value: isinstance(value, Mapping) and all(map(good, value.values()))
    allowed = {
        "r": (whole, "a whole number from 1"),
        "lora_alpha": (number, "a number other than 0"),
        "use_rslora": (lambda value: type(value) is bool, "true or false"),
        "rank_pattern": (by_module(whole), "whole numbers by module"),
        "alpha_pattern": (by_module(number), "numbers by module"),
        "target_modules": (lambda value: isinstance(value, str) or texts(value), "a text or a list of texts"),
        "exclude_modules": (lambda value: isinstance(value, str) or texts(value), "a text or a list of texts"),
        "layers_pattern": (lambda value: isinstance(value, str) or texts(value), "a text or a list of texts"),
        "layers_to_transform": (lambda value: type(value) is int or numbers(value), "a number or a list of them"),
    }  # fmt: skip
    for key, (good, what) in allowed.items():
        if key in said and not good(said[key]):
            raise InputError(f"{file}: {key} is {shown(said[key])}: it must be {what}")
    for key in ("rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "layers_pattern"):
        for pattern in [said[key]] if isinstance(said.get(key), str) else said.get(key, ()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(f"{file}: {key} holds {pattern!r}, no regular expression: {error}") from None


def adapter_config(
    file: pathlib.Path, num_layers: int, ranks: Mapping[tuple[int, str], int], alpha: float, base: str
) -> dict[str, Any]:
    """The configuration of adapters with these ranks, by layer and target; notes of an older `file` are kept."""
    before = kept(read_json(file), ADAPTER_KEYS) if file.is_file() else {}
    targets = [target for target in PROJECTIONS if any(target == other for _, other in ranks)]
    regular = len(ranks) == num_layers * len(targets)
    modules = (
        sorted(PROJECTIONS[target].rpartition(".")[2] for target in targets)
        if regular
        else [module_name(*place) for place in ranks]
    )
    values = list(ranks.values())
    rank = max(sorted(set(values)), key=values.count)
    others = {re.escape(module_name(*place)): other for place, other in ranks.items() if other != rank}
    return {
        "task_type": "CAUSAL_LM",
        "lora_dropout": 0.0,
        "inference_mode": True,
        **before,
        "base_model_name_or_path": base or before.get("base_model_name_or_path", ""),
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": False,
        "rank_pattern": others,
    }
