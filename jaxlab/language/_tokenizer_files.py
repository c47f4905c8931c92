"""Tokenizers out of files and into them: Hugging Face's `tokenizer.json` and its neighbours, or a GGUF file."""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxlab.core.check import InputError
from jaxlab.language._ends import as_ids
from jaxlab.language._extras import require
from jaxlab.language._hugging_face_config import read_json, write_json
from jaxlab.language._key_rules import check_keys, kept, rule_of
from jaxlab.language._safetensors import replacing
from jaxlab.language._tokenizer import Tokenizer
from jaxlab.language._tokenizer_gguf import tokenizer_of_gguf
from jaxlab.language._tokenizer_keys import SPECIAL_TOKENS, TOKENIZER_KEYS

_DEFAULT, _NAMED = "chat_template.jinja", "additional_chat_templates"
_FLAGS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """A model's tokenizer, from a Hugging Face folder, its `tokenizer.json`, or a GGUF file.

    Args:
      path: a folder or file. Beside `tokenizer.json` these are read: `tokenizer_config.json` (special tokens, added
        tokens), chat templates, and the ends that `generation_config.json` and `config.json` name. A GGUF file's
        metadata hold all of it (byte-level BPE of the SmolLM, GPT-2, Qwen2 and Llama 3 kinds).

    Returns:
      A `Tokenizer`; an end of sequence is what any of the files calls one.

    Raises:
      ValueError: a file that is missing or damaged, no id that ends a sequence, another kind of tokenizer, or a key
        that asks for what is not done here.
      MissingPackage: the package `tokenizers` is not installed.

    >>> load_tokenizer("/nowhere.gguf")
    Traceback (most recent call last):
    jaxlab.core.InputError: /nowhere.gguf does not exist
    """
    path = pathlib.Path(path)
    if path.suffix == ".gguf":
        return tokenizer_of_gguf(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"{file} does not exist")
    try:
        backend = require("tokenizers").Tokenizer.from_file(str(file))
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the package raises nothing more precise
        raise InputError(f"{file} is not a tokenizer: {' '.join(str(error).split())}") from None
    dropout = getattr(backend.model, "dropout", None)
    if dropout:
        raise InputError(f"{file}: dropout is {dropout:.3g}: the same text would have other ids each time")
    padding = (backend.padding or {}).get("pad_token")
    backend.no_padding()
    backend.no_truncation()
    return _with_special_ids(backend, file.parent, padding)


def save_tokenizer(path: str | os.PathLike[str], tokenizer: Tokenizer) -> None:
    """Write a tokenizer as a Hugging Face folder, beside a model or alone; `load_tokenizer` and transformers read it.

    Writes `tokenizer.json`, `tokenizer_config.json`, the chat templates, and the ends of a sequence as `eos_token_id`
    into `generation_config.json`. What else the last two files said is kept.

    Args:
      path: a folder; it is made if need be.
      tokenizer: any `Tokenizer`, also one out of a GGUF file.

    Raises:
      ValueError: another kind of tokenizer.

    >>> from tokenizers import Tokenizer as Backend, models
    >>> words = Tokenizer(Backend(models.WordLevel({"<end>": 0, "yes": 1}, "<end>")), pad_id=0, bos_id=None, eos_id=0)
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tokenizer(folder, words)
    ...     load_tokenizer(folder).decode([1, 0, 1])
    'yes'
    """
    if not isinstance(tokenizer, Tokenizer):
        raise InputError(f"only a Tokenizer has a form in files, got {type(tokenizer).__name__}")
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "tokenizer.json", tokenizer.backend.to_str(pretty=True))

    file = folder / "tokenizer_config.json"
    before = read_json(file) if file.is_file() else {"tokenizer_class": "PreTrainedTokenizerFast"}
    added = tokenizer.backend.get_added_tokens_decoder().items()
    decoder = {str(i): {flag: getattr(token, flag) for flag in _FLAGS} for i, token in added}
    named = tokenizer.special_tokens
    more = {name: text for name, text in named.items() if name not in SPECIAL_TOKENS}
    own = {name: named[name] for name in SPECIAL_TOKENS if name in named}
    own |= {
        "added_tokens_decoder": decoder,
        "extra_special_tokens": more,
        "clean_up_tokenization_spaces": False,
    }
    write_json(file, {**kept(before, TOKENIZER_KEYS), **own})

    _write_templates(folder, tokenizer.chat_template)
    file = folder / "generation_config.json"
    ends = list(tokenizer.eos_ids) if len(tokenizer.eos_ids) > 1 else tokenizer.eos_id
    write_json(file, {**(read_json(file) if file.is_file() else {}), "eos_token_id": ends})


def _write_templates(folder: pathlib.Path, template: str | Mapping[str, str] | None) -> None:
    named = dict(template) if isinstance(template, Mapping) else {"default": template} if template else {}
    for name in named:
        if pathlib.Path(name).name != name:
            raise InputError(f"the chat template {name!r} cannot be a file's name")
    files = {
        folder / (_DEFAULT if name == "default" else f"{_NAMED}/{name}.jinja"): named[name] for name in named
    }
    for stale in {folder / _DEFAULT, *(folder / _NAMED).glob("*.jinja")} - files.keys():
        stale.unlink(missing_ok=True)
    for file, source in files.items():
        file.parent.mkdir(exist_ok=True)
        _write(file, source)


def _write(file: pathlib.Path, text: str) -> None:
    with replacing(file) as stream:
        stream.write(text.encode())


def _with_special_ids(backend: Any, folder: pathlib.Path, padding: str | None) -> Tokenizer:
    file = folder / "tokenizer_config.json"
    config = _config(folder)
    named = _named_tokens(file, config)
    others = [
        token
        for key in ("additional_special_tokens", "extra_special_tokens")
        for token in _listed(config, key)
    ]
    check_keys(file, {key: value for key, value in config.items() if key not in named}, TOKENIZER_KEYS)
    if padding is not None and "pad_token" not in config:
        named["pad_token"] = padding
    _check_spaces(file, config, backend)
    _add_tokens(file, backend, config.get("added_tokens_decoder") or {})

    library = require("tokenizers")
    added = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    special = {**named, **{f"additional_special_tokens[{i}]": _text(token) for i, token in enumerate(others)}}
    for key, text in special.items():
        if not isinstance(text, str) or backend.token_to_id(text) is None:
            raise InputError(f"{file}: {key} is {text!r:.80}, which is not in the vocabulary")
        if text not in added:
            backend.add_tokens([library.AddedToken(text, special=True)])
        elif key in named and not added[text].special:  # the name makes it special
            flags = {flag: getattr(added[text], flag) for flag in _FLAGS[1:]}
            backend.add_tokens([library.AddedToken(text, **{**flags, "special": True})])

    for key in SPECIAL_TOKENS:
        given, text = config.get(f"{key}_id"), named.get(key)
        if given is not None and (text is None or given != backend.token_to_id(text)):
            raise InputError(f"{file}: {key}_id is {given!r:.80}, but {key} is {text!r}")

    ends = _ends(folder)
    pad, bos, eos = (backend.token_to_id(named.get(f"{kind}_token", "")) for kind in ("pad", "bos", "eos"))
    if eos is None and not ends:
        raise InputError(f"{file} names no eos_token")
    eos = ends[0] if eos is None else eos
    return Tokenizer(
        backend, eos if pad is None else pad, bos, eos, _chat_template(file, folder, config), ends, named
    )


def _config(folder: pathlib.Path) -> dict[str, Any]:
    """`tokenizer_config.json`; where it is of the kind that names no added tokens, the older files beside it, too."""
    read = lambda name: read_json(folder / name) if (folder / name).is_file() else {}
    config = read("tokenizer_config.json")
    if "added_tokens_decoder" in config:
        return config
    config |= read("special_tokens_map.json")
    special = [_text(value) for key, value in config.items() if key in SPECIAL_TOKENS and value is not None]
    special += [_text(value) for key in ("additional_special_tokens", "extra_special_tokens")
                for value in _listed(config, key)]  # fmt: skip
    older = {
        str(i): {"content": text, "normalized": text not in special, "special": text in special}
        for text, i in read("added_tokens.json").items()
    }
    return config | {"added_tokens_decoder": older}


def _text(token: Any) -> Any:
    """A token as files write it, a text or a dict with a text in it."""
    return token.get("content") if isinstance(token, Mapping) else token


def _listed(config: Mapping[str, Any], key: str) -> list[Any]:
    return list(config[key]) if isinstance(config.get(key), (list, tuple)) else []


def _named_tokens(file: pathlib.Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens by the names that templates know them by: the usual ones, and those of this model alone."""
    pairs = [(key, value) for key, value in config.items() if key in SPECIAL_TOKENS or _is_own(key, value)]
    for key in ("extra_special_tokens", "model_specific_special_tokens"):
        pairs += list(config[key].items()) if isinstance(config.get(key), Mapping) else []
    for key, value in pairs:
        if value is not None and not isinstance(_text(value), str):
            raise InputError(f"{file}: {key} is {value!r:.80}: it must be a text")
    return {key: _text(value) for key, value in pairs if value is not None}


def _is_own(key: str, value: Any) -> bool:
    """Whether a key names a token of this model alone."""
    return key.endswith("_token") and rule_of(TOKENIZER_KEYS, key) is None and isinstance(_text(value), str)


def _check_spaces(file: pathlib.Path, config: Mapping[str, Any], backend: Any) -> None:
    """Two keys about spaces that `tokenizer.json` decides: what they ask for must be what it does."""
    asked = config.get("add_prefix_space")
    for part in _parts(json.loads(backend.pre_tokenizer.__getstate__()) if backend.pre_tokenizer else {}):
        if part.get("type") == "ByteLevel" and asked not in (None, part["add_prefix_space"]):
            raise InputError(
                f"{file}: add_prefix_space is {asked}: tokenizer.json says {part['add_prefix_space']}"
            )
    if config.get("clean_up_tokenization_spaces") and type(backend.model).__name__ != "BPE":
        raise InputError(f"{file}: clean_up_tokenization_spaces is True: only False is supported")


def _parts(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield state
    for part in state.get("pretokenizers", ()):
        yield from _parts(part)


def _add_tokens(file: pathlib.Path, backend: Any, decoder: Any) -> None:
    """Tokens that `tokenizer.json` may not have; they get the next ids, which must be the ones that they claim."""
    library = require("tokenizers")
    if not isinstance(decoder, Mapping) or not all(map(str.isdecimal, decoder)):
        raise InputError(f"{file}: added_tokens_decoder is {decoder!r:.80}: it must be tokens by their ids")
    for number, token in sorted(decoder.items(), key=lambda pair: int(pair[0])):
        flags = [token.get(flag, False) for flag in _FLAGS[1:]] if isinstance(token, Mapping) else [None]
        if not all(isinstance(flag, bool) for flag in flags) or not isinstance(token.get("content"), str):
            raise InputError(f"{file}: added_tokens_decoder[{number}] is {token!r:.80}: it must be a token")
        text, flags = token["content"], {flag: token[flag] for flag in _FLAGS[1:] if flag in token}
        known = backend.token_to_id(text)
        found = backend.get_vocab_size(with_added_tokens=True) if known is None else known
        if found != int(number):
            raise InputError(f"{file}: added_tokens_decoder[{number}] is {text!r}, whose id is {found}")
        backend.add_tokens([library.AddedToken(text, **flags)])


def _ends(folder: pathlib.Path) -> list[int]:
    """The ends that the model's own files name: those of `config.json` where generation has none of its own."""
    for name in ("generation_config.json", "config.json"):
        said = read_json(folder / name).get("eos_token_id") if (folder / name).is_file() else None
        if said is not None:
            return list(as_ids(folder / name, "eos_token_id", said))
    return []


def _chat_template(
    file: pathlib.Path, folder: pathlib.Path, config: Mapping[str, Any]
) -> str | dict[str, str] | None:
    """The files beside it, if there are any, else what the config holds."""
    files = {"default": folder / _DEFAULT} if (folder / _DEFAULT).is_file() else {}
    files |= {path.stem: path for path in sorted((folder / _NAMED).glob("*.jinja"))}
    template = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    if not template:
        template = config.get("chat_template")
    if isinstance(template, list):
        try:
            template = {each["name"]: each["template"] for each in template}
        except (TypeError, KeyError):
            raise InputError(
                f"{file}: chat_template is {template!r:.80}: each needs name and template"
            ) from None
    if isinstance(template, Mapping) and set(template) == {"default"}:
        template = template["default"]
    texts = template.values() if isinstance(template, Mapping) else [template]
    if template is not None and not all(isinstance(each, str) for each in texts):
        raise InputError(f"{file}: chat_template is {template!r:.80}: it must be a text")
    return template
