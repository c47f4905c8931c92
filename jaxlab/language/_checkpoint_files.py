"""Folders as Hugging Face's transformers writes them: `config.json` and safetensors, in and out."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._decoder import Decoder
from jaxlab.language._ends import GENERATION, as_ids, read_generation
from jaxlab.language._hugging_face_config import config_of, read_config, read_json, write_json
from jaxlab.language._rope_pairs import convert_rope_pairs
from jaxlab.language._safetensors import Entry, read_entries, replacing, write_tensors
from jaxlab.language._tensor_names import Names, assemble, check_params, check_tensors, float_dtype, slots

PROJECTIONS = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_NAMES = Names(
    top={"embed": "model.embed_tokens.weight", "norm": "model.norm.weight", "output": "lm_head.weight"},
    layer={
        **{key: f"model.layers.{{i}}.{name}.weight" for key, name in PROJECTIONS.items()},
        **{f"{key}_bias": f"model.layers.{{i}}.self_attn.{key}_proj.bias" for key in "qkv"},
        **{f"{key}_norm": f"model.layers.{{i}}.self_attn.{key}_norm.weight" for key in "qk"},
        "attention_norm": "model.layers.{i}.input_layernorm.weight",
        "mlp_norm": "model.layers.{i}.post_attention_layernorm.weight",
    },
)
# What goes along when a model is saved elsewhere than where it was loaded.
_BESIDE = (
    GENERATION, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def load_hugging_face(
    folder: str | os.PathLike[str], *, dtype: Any = jnp.float32
) -> tuple[Decoder, dict[str, Any]]:
    """A model and its parameters from a folder written by `transformers`: Llama, SmolLM2, Qwen2 and Qwen3.

    Configuration, names, shapes and the files' lengths are all checked before any tensor is read, and nothing in
    the folder is executed. A key of `config.json` or `generation_config.json` that is not known to be honoured or to
    change nothing is refused; `docs/model_files.md` lists them. Where a key is absent, transformers' default is
    taken. A matrix of logits of its own is used even where the configuration says that it is the embedding.
    Tensors come one by one, so the peak is the parameters and one tensor more.

    Args:
      folder: with `config.json`, and `model.safetensors` or `model.safetensors.index.json` and its shards
        (float64, float32, float16 or bfloat16).
      dtype: of the parameters.

    Returns:
      The `Decoder` and its parameters, with layers as a tuple.

    Raises:
      ValueError: a file that is missing or damaged, an architecture or setting that a `Decoder` does not have
        (sliding windows, attention in both directions, other biases and activations), an unknown key, adapters in
        the same folder, tensors that do not fit; always one line.

    >>> import jax, tempfile
    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2, context=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_hugging_face(folder, model, model.init(jax.random.key(0)))
    ...     again, params = load_hugging_face(folder)
    >>> again == model, params["layers"][0]["q"].shape
    (True, (8, 8))
    """
    folder, dtype = pathlib.Path(folder), float_dtype(dtype)
    model = read_config(folder / "config.json")
    read_generation(folder)
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder} holds adapter_config.json, adapters that transformers would attach: merge them, or keep them in "
            "a folder of their own, for load_lora"
        )
    entries = _read_folder(folder)
    ignored = {name for name in entries if name.endswith("rotary_emb.inv_freq")}
    embed, output = (entries.get(_NAMES.top[key]) for key in ("embed", "output"))
    if model.tied and output is not None:
        if _equal(embed, output):
            ignored.add(_NAMES.top["output"])
        else:
            model = dataclasses.replace(model, tied=False)
    found = {name: entry.shape for name, entry in entries.items()}
    expected = check_tensors(folder, model, _NAMES, found, ignored)
    return model, assemble(model, expected, lambda name: entries[name].read(), dtype)


def save_hugging_face(
    folder: str | os.PathLike[str],
    model: Decoder,
    params: Mapping[str, Any],
    *,
    dtype: Any = jnp.float32,
    source: str | os.PathLike[str] | None = None,
    eos: int | Sequence[int] | None = None,
) -> None:
    """Write a model as a folder that `transformers` loads as Llama, Qwen2 (with biases) or Qwen3 (with head norms).

    Rotary channels are brought into the order of transformers. Each file appears whole or not at all. What the
    folder already says of the ends of a sequence, of generation and of the tokenizer stays, or comes from `source`,
    as do keys of `config.json` that do not speak of the shape.

    Args:
      folder: made if need be; a model in it is overwritten.
      model: the shape; biases together with head norms have no name there.
      params: its parameters, on this process, layers as a tuple or stacked, without adapters (`merge_lora`).
      dtype: in the file: float32, float16 or bfloat16.
      source: the folder that the model was loaded from, or another with the same tokenizer: its generation
        configuration, tokenizer and chat template are copied. None keeps what `folder` holds.
      eos: the id or ids that end a sequence, for generation; None keeps what `source`, or `folder`, says.

    Raises:
      ValueError: a shape without a name in transformers, parameters that do not fit the model, another dtype.

    >>> import jax, tempfile
    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_hugging_face(folder, model, model.init(jax.random.key(0)))
    ...     sorted(os.listdir(folder))
    ['config.json', 'model.safetensors']
    """
    folder, dtype = pathlib.Path(folder), float_dtype(dtype)
    if dtype == np.float64:
        raise InputError("dtype is float64: transformers expects float32, float16 or bfloat16")
    came_from = folder if source is None else pathlib.Path(source)
    config = config_of(model, dtype, _before(came_from, model, must_exist=source is not None))
    if eos is not None:
        config["eos_token_id"] = _ends(eos, model)
    model, params = convert_rope_pairs(model, check_params(model, params), "half")
    folder.mkdir(parents=True, exist_ok=True)
    places = dict(slots(model, _NAMES))

    def read(name: str) -> np.ndarray:
        slot = places[name]
        array = np.asarray((params if slot.layer is None else params["layers"][slot.layer])[slot.key])
        return array.T if slot.transposed else array

    write_tensors(
        folder / "model.safetensors", {name: slot.shape for name, slot in places.items()}, read, dtype
    )
    write_json(folder / "config.json", config)
    _write_beside(folder, came_from, config["eos_token_id"] if eos is not None else None)


def _before(folder: pathlib.Path, model: Decoder, *, must_exist: bool) -> dict[str, Any]:
    """The configuration to be kept where it does not speak of the shape."""
    file = folder / "config.json"
    if must_exist:
        return read_json(file)
    before = read_json(file) if file.is_file() else {}
    return before if before.get("vocab_size") == model.vocab_size else {}


def _ends(eos: Any, model: Decoder) -> int | list[int]:
    ids = as_ids("save_hugging_face", "eos", eos if isinstance(eos, int) else np.asarray(eos).tolist())
    if not ids or max(ids) >= model.vocab_size:
        raise InputError(f"eos is {eos}: ids lie in 0 to {model.vocab_size - 1}, and at least one is needed")
    return ids[0] if len(ids) == 1 else list(ids)


def _write_beside(folder: pathlib.Path, came_from: pathlib.Path, eos: int | list[int] | None) -> None:
    """The files that are not the model's, and the ends in `generation_config.json` if they were given."""
    if came_from.resolve() != folder.resolve():
        more = sorted(came_from.glob("additional_chat_templates/*.jinja"))
        for old in (*(came_from / name for name in _BESIDE), *more):
            if old.is_file():
                new = folder / old.relative_to(came_from)
                new.parent.mkdir(exist_ok=True)
                with old.open("rb") as source, replacing(new) as target:
                    shutil.copyfileobj(source, target)
    file = folder / GENERATION
    if eos is not None and file.is_file():
        write_json(file, {**read_json(file), "eos_token_id": eos})


def _equal(one: Entry | None, other: Entry) -> bool:
    return one is not None and one.shape == other.shape and np.array_equal(one.read(), other.read())


def _read_folder(folder: pathlib.Path) -> dict[str, Entry]:
    """Every tensor of one file or of all the shards that the index names."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return read_entries(whole)
    if not index.is_file():
        raise InputError(f"{folder} holds neither {whole.name} nor {index.name}")
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise InputError(f"{index}: weight_map must say in which file each tensor is")
    shards = {}
    for name in sorted(set(places.values())):
        if name != pathlib.PurePath(name).name:
            raise InputError(f"{index}: {name!r} must be the name of a file in the same folder")
        shards[name] = read_entries(folder / name)
    for tensor, name in places.items():
        if tensor not in shards[name]:
            raise InputError(f"{folder / name}: tensor {tensor} is missing, though the index promises it")
    return {tensor: shards[name][tensor] for tensor, name in places.items()}
