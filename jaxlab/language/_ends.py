"""The ids that end a sequence, as a model's files say them."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.core.check import InputError
from jaxlab.language._config_keys import DEFAULTS, GENERATION_KEYS
from jaxlab.language._gguf_file import read_gguf
from jaxlab.language._hugging_face_config import architecture, read_json
from jaxlab.language._key_rules import check_keys, shown

GENERATION = "generation_config.json"
# Control tokens at which llama.cpp stops whatever the metadata says.
_GGUF_ENDS = (
    "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>", "</s>", "<eos>", "[EOS]", "<EOT>", "_<EOT>", "[EOT]", "<end_of_utterance>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)  # fmt: skip
_CONTROL = 3


def end_ids(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """The ids that end a sequence of a model: chat models have several, one for a turn and one for the text.

    In a folder `generation_config.json` says it; where that does not, `config.json`, or the architecture's default in
    transformers. (`config.json` is no second source: transformers writes its defaults there.) In a GGUF file these
    are the ids for the ends of a sequence, a turn and a message, and the control tokens of the usual names
    (`<|im_end|>`, `<|eot_id|>`, ...), at which llama.cpp stops too.

    Args:
      path: a folder written by `transformers`, or a GGUF file.

    Returns:
      The ids, each once, for `eos` of `sample` and of the learners; none if the files name none.

    Raises:
      ValueError: a file that is missing or damaged, ids that are no whole numbers, a key of
        `generation_config.json` that cannot be honoured, such as ends that are texts; always one line.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "config.json").write_text('{"model_type": "qwen2", "eos_token_id": [2, 5]}')
    ...     end_ids(folder)
    (2, 5)
    """
    path = pathlib.Path(path)
    if path.suffix == ".gguf":
        return _of_gguf(path)
    said = read_generation(path).get("eos_token_id")
    if said is not None:
        return as_ids(path / GENERATION, "eos_token_id", said)
    file = path / "config.json"
    config = read_json(file)
    said = config.get("eos_token_id", DEFAULTS[architecture(file, config)]["eos_token_id"])
    return () if said is None else as_ids(file, "eos_token_id", said)


def read_generation(folder: pathlib.Path) -> dict[str, Any]:
    """`generation_config.json`, every key of it judged; empty where there is none."""
    file = folder / GENERATION
    content = read_json(file) if file.is_file() else {}
    check_keys(file, content, GENERATION_KEYS)
    return content


def as_ids(where: Any, key: str, said: Any) -> tuple[int, ...]:
    """One id or several as a tuple, each once."""
    ids = [said] if type(said) is int else said
    if not isinstance(ids, Sequence) or not all(type(each) is int and each >= 0 for each in ids):
        raise InputError(f"{where}: {key} is {shown(said)}: it must be an id or a list of ids")
    return tuple(dict.fromkeys(ids))


def _of_gguf(path: pathlib.Path) -> tuple[int, ...]:
    metadata: Mapping[str, Any] = read_gguf(path, tensors=False).metadata
    names = [f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom")]
    ids = [each for key in names if key in metadata for each in as_ids(path, key, metadata[key])]
    tokens, kinds = (metadata.get(f"tokenizer.ggml.{key}") or [] for key in ("tokens", "token_type"))
    return tuple(dict.fromkeys(ids + control_ends(tokens, kinds)))


def control_ends(tokens: Sequence[str], kinds: Sequence[int]) -> list[int]:
    """Control tokens of a GGUF vocabulary that end a turn by their very name.

    `<|end|>` ends only a message where `<|return|>` and `<|call|>` are there too.
    """
    control = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds)) if kind == _CONTROL}
    if {"<|return|>", "<|call|>"} <= control.keys():
        control.pop("<|end|>", None)
    return [control[token] for token in _GGUF_ENDS if token in control]
