"""A tokenizer out of GGUF metadata: byte-level BPE, cut as llama.cpp cuts."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.core.check import InputError
from jaxlab.language._ends import control_ends
from jaxlab.language._extras import require
from jaxlab.language._gguf_file import read_gguf
from jaxlab.language._key_rules import check_keys
from jaxlab.language._tokenizer import Tokenizer
from jaxlab.language._tokenizer_keys import GGUF_TOKENIZER_KEYS

# How text is cut before merging, by `tokenizer.ggml.pre`: one pattern after the other, each on what the former left.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")
_CUTS = {
    "smollm": (r"\p{N}", _GPT2),
    "gpt-2": (_GPT2,),
    "qwen2": (_WORDS.replace("DIGITS", r"\p{N}"),),
    "llama-bpe": (_WORDS.replace("DIGITS", r"\p{N}{1,3}"),),
    "default": _DEFAULT,
}
_CUTS |= {"gpt2": _CUTS["gpt-2"], "deepseek-r1-qwen": _CUTS["qwen2"], "llama3": _CUTS["llama-bpe"]}
_CUTS |= {"llama-v3": _CUTS["llama-bpe"], None: _DEFAULT}

_NAMES = {
    "bos": "bos", "eos": "eos", "unknown": "unk", "seperator": "sep", "separator": "sep", "padding": "pad",
    "cls": "cls", "mask": "mask",
}  # fmt: skip
_CONTROL = 3


def tokenizer_of_gguf(path: pathlib.Path) -> Tokenizer:
    """The tokenizer that a file's metadata describe."""
    metadata = read_gguf(path, tensors=False).metadata
    get = lambda key: metadata.get(f"tokenizer.ggml.{key}")
    if get("model") != "gpt2":
        raise InputError(
            f"{path}: tokenizer.ggml.model is {get('model')!r}: only 'gpt2', byte-level BPE, is supported"
        )
    own = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    check_keys(path, own, GGUF_TOKENIZER_KEYS)
    tokens, merges, kinds = get("tokens"), get("merges"), get("token_type") or []
    if not isinstance(tokens, list) or not isinstance(merges, list) or len(set(tokens)) < len(tokens):
        raise InputError(f"{path}: tokenizer.ggml.tokens or merges are missing, or a token occurs twice")
    ids = {kind: get(f"{kind}_token_id") for kind in (*_NAMES, "eot", "eom")}
    ids = {kind: token for kind, token in ids.items() if token is not None}
    for kind, token in ids.items():
        if not 0 <= token < len(tokens):
            raise InputError(
                f"{path}: tokenizer.ggml.{kind}_token_id is {token}: there are {len(tokens)} tokens"
            )
    if "eos" not in ids:
        raise InputError(f"{path}: tokenizer.ggml.eos_token_id is missing")
    backend = _byte_level_bpe(path, tokens, merges, get("pre"))
    _add_special(backend, tokens, kinds)
    named = {f"{_NAMES[kind]}_token": tokens[token] for kind, token in ids.items() if kind in _NAMES}
    ends = [ids[kind] for kind in ("eot", "eom") if kind in ids] + control_ends(tokens, kinds)
    return Tokenizer(
        backend, ids.get("padding", ids["eos"]), ids.get("bos"), ids["eos"], _templates(own), ends, named
    )


def _templates(metadata: Mapping[str, Any]) -> str | dict[str, str] | None:
    prefix, default = "tokenizer.chat_template.", metadata.get("tokenizer.chat_template")
    named = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    if not named:
        return default
    return named if default is None else {"default": default, **named}


def _byte_level_bpe(path: pathlib.Path, tokens: Sequence[str], merges: Sequence[str], pre: str | None) -> Any:
    library = require("tokenizers")
    if pre not in _CUTS:
        raise InputError(
            f"{path}: tokenizer.ggml.pre is {pre!r}: it must be 'smollm', 'gpt-2' or 'qwen2', or else 'llama-bpe'"
        )
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    broken = next(
        (pair for pair in pairs if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys()), None
    )
    if broken is not None:
        raise InputError(f"{path}: merge {' '.join(broken)!r} speaks of tokens that are not there")
    whole = _CUTS[pre] is _CUTS["llama-bpe"]  # words of the vocabulary are not put together out of pieces
    backend = library.Tokenizer(library.models.BPE(vocabulary, pairs, ignore_merges=whole))
    cuts = [library.pre_tokenizers.Split(library.Regex(cut), "isolated") for cut in _CUTS[pre]]
    letters = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = library.pre_tokenizers.Sequence([*cuts, letters])
    backend.decoder = library.decoders.ByteLevel()
    if _CUTS[pre] is _CUTS["qwen2"]:
        backend.normalizer = library.normalizers.NFC()
    return backend


def _add_special(backend: Any, tokens: Sequence[str], kinds: Sequence[int]) -> None:
    """Control tokens (3) and unknown (2) are special; the user's own (4) are never cut, but are shown."""
    added = require("tokenizers").AddedToken
    special = [added(token, normalized=False) for token, kind in zip(tokens, kinds) if kind in (2, _CONTROL)]
    own = [added(token, normalized=False) for token, kind in zip(tokens, kinds) if kind == 4]
    backend.add_special_tokens(special)
    backend.add_tokens(own)
