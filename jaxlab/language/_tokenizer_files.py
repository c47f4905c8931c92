"""Tokenizers out of files: Hugging Face's `tokenizer.json` and its neighbours, or GGUF metadata."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.language._extras import require
from jaxlab.language._gguf_file import read_gguf
from jaxlab.language._hugging_face_config import read_json
from jaxlab.language._tokenizer import Tokenizer

# How Qwen2 cuts text before merging: contractions, words, single digits, punctuation, line ends, spaces.
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """A model's tokenizer, from a Hugging Face folder, its `tokenizer.json`, or a GGUF file.

    Args:
      path: a folder or file; special ids and chat template come from `tokenizer_config.json` and
        `chat_template.jinja` beside `tokenizer.json`, or from the GGUF file's metadata (byte-level BPE of the
        SmolLM, GPT-2 and Qwen2 kinds).

    Returns:
      A `Tokenizer`.

    Raises:
      ValueError: a file that is missing or damaged, no id that ends a sequence, or another kind of tokenizer.
      ModuleNotFoundError: the package `tokenizers` is not installed.

    Reference: the formats of Hugging Face's tokenizers and of GGUF.

    >>> load_tokenizer("/nowhere.gguf")
    Traceback (most recent call last):
    ValueError: /nowhere.gguf does not exist
    """
    path = pathlib.Path(path)
    if path.suffix == ".gguf":
        return _from_gguf(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{file} does not exist")
    try:
        backend = require("tokenizers").Tokenizer.from_file(str(file))
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the package raises nothing more precise
        raise ValueError(f"{file} is not a tokenizer: {' '.join(str(error).split())}") from None
    backend.no_padding()
    backend.no_truncation()
    return _with_special_ids(backend, file.parent)


def _with_special_ids(backend: Any, folder: pathlib.Path) -> Tokenizer:
    file = folder / "tokenizer_config.json"
    config = read_json(file) if file.is_file() else {}

    def id_of(kind: str) -> int | None:
        name = config.get(f"{kind}_token")
        name = name.get("content") if isinstance(name, Mapping) else name
        if name is None:
            return None
        token = backend.token_to_id(name)
        if token is None:
            raise ValueError(f"{file}: {kind}_token is {name!r}, which is not in the vocabulary")
        return token

    pad, bos, eos = (id_of(kind) for kind in ("pad", "bos", "eos"))
    if eos is None:
        raise ValueError(f"{file} names no eos_token")
    return Tokenizer(backend, eos if pad is None else pad, bos, eos, _chat_template(folder, config))


def _chat_template(folder: pathlib.Path, config: Mapping[str, Any]) -> str | None:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {each["name"]: each["template"] for each in template}
        return named.get("default")
    return template


def _from_gguf(path: pathlib.Path) -> Tokenizer:
    metadata = read_gguf(path, tensors=False).metadata
    get = lambda key: metadata.get(f"tokenizer.ggml.{key}")
    if get("model") != "gpt2":
        raise ValueError(
            f"{path}: tokenizer.ggml.model is {get('model')!r}: only 'gpt2', byte-level BPE, is supported"
        )
    tokens, merges = get("tokens"), get("merges")
    if not isinstance(tokens, list) or not isinstance(merges, list) or len(set(tokens)) < len(tokens):
        raise ValueError(f"{path}: tokenizer.ggml.tokens or merges are missing, or a token occurs twice")
    backend = _byte_level_bpe(path, tokens, merges, get("pre"))
    _add_special(backend, tokens, get("token_type") or [])
    ids = {kind: get(f"{kind}_token_id") for kind in ("padding", "bos", "eos")}
    for kind, token in ids.items():
        if token is not None and not 0 <= token < len(tokens):
            raise ValueError(
                f"{path}: tokenizer.ggml.{kind}_token_id is {token}: there are {len(tokens)} tokens"
            )
    if ids["eos"] is None:
        raise ValueError(f"{path}: tokenizer.ggml.eos_token_id is missing")
    pad = ids["eos"] if ids["padding"] is None else ids["padding"]
    return Tokenizer(backend, pad, ids["bos"], ids["eos"], metadata.get("tokenizer.chat_template"))


def _byte_level_bpe(path: pathlib.Path, tokens: Sequence[str], merges: Sequence[str], pre: str | None) -> Any:
    library = require("tokenizers")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    broken = next(
        (pair for pair in pairs if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys()), None
    )
    if broken is not None:
        raise ValueError(f"{path}: merge {' '.join(broken)!r} speaks of tokens that are not there")
    backend = library.Tokenizer(library.models.BPE(vocabulary, pairs))
    backend.decoder = library.decoders.ByteLevel()
    whole = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre in ("smollm", "gpt-2", "gpt2", "default", None):
        digits = [library.pre_tokenizers.Digits(individual_digits=True)] if pre == "smollm" else []
        backend.pre_tokenizer = library.pre_tokenizers.Sequence([*digits, whole])
    elif pre == "qwen2":
        split = library.pre_tokenizers.Split(library.Regex(_QWEN2), "isolated")
        each = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = library.pre_tokenizers.Sequence([split, each])
        backend.normalizer = library.normalizers.NFC()
    else:
        raise ValueError(f"{path}: tokenizer.ggml.pre is {pre!r}: it must be 'smollm', 'gpt-2' or 'qwen2'")
    return backend


def _add_special(backend: Any, tokens: Sequence[str], kinds: Sequence[int]) -> None:
    """Control tokens (3) and unknown (2) are special; the user's own (4) are never cut, but are shown."""
    added = require("tokenizers").AddedToken
    special = [added(token, normalized=False) for token, kind in zip(tokens, kinds) if kind in (2, 3)]
    own = [added(token, normalized=False) for token, kind in zip(tokens, kinds) if kind == 4]
    backend.add_special_tokens(special)
    backend.add_tokens(own)
