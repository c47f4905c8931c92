"""The tokenizers of real models, with their chat templates."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._chat_template import plain, plain_dicts, plain_messages, render
from jaxlab.language._texts import check_texts

# What one gives to transformers' apply_chat_template to get tokens; in a template's hands it would do nothing.
_NOT_OF_TEXT = (
    "tokenize", "return_tensors", "return_dict", "padding", "truncation", "max_length", "tokenizer_kwargs",
    "return_assistant_tokens_mask", "continue_final_message", "sanitize_control_tokens",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back, as the model's authors trained it.

    Text such as "<|im_end|>" becomes the one special id it names; no other special id is added by itself. Two
    tokenizers are equal only if they are the same object, so it may be a static argument of a compiled function.

    Attributes:
      backend: a `tokenizers.Tokenizer`.
      pad_id: fills rows; the end's id where the files name none.
      bos_id: begins a sequence, or None.
      eos_id: ends one; the end that `encode_batch` writes.
      chat_template: Jinja source, several by name, or None.
      eos_ids: every id that ends a sequence, `eos_id` first; give them to `sample`.
      special_tokens: the names that templates know special tokens by, such as "bos_token", and their texts; None
        is what the ids above say.

    Raises:
      ValueError: an id that is not one of the vocabulary.

    >>> from tokenizers import Tokenizer as Backend, models
    >>> words = Tokenizer(Backend(models.WordLevel({"<end>": 0, "yes": 1}, "<end>")), pad_id=0, bos_id=None, eos_id=0)
    >>> words.encode("yes"), words.vocab_size, words.eos_ids
    ([1], 2, (0,))
    """

    backend: Any = dataclasses.field(repr=False)
    pad_id: int
    bos_id: int | None
    eos_id: int
    chat_template: str | Mapping[str, str] | None = dataclasses.field(default=None, repr=False)
    eos_ids: Sequence[int] = ()
    special_tokens: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        put = functools.partial(object.__setattr__, self)
        for name in ("pad_id", "bos_id", "eos_id"):
            value = getattr(self, name)
            if value is not None or name != "bos_id":
                put(name, _an_id(name, value, self.vocab_size))
        others = self.eos_ids if np.ndim(self.eos_ids) else [self.eos_ids]
        others = [_an_id("eos_ids", value) for value in others]
        put("eos_ids", tuple(dict.fromkeys([self.eos_id, *others])))
        if self.special_tokens is None:
            ids = {"pad_token": self.pad_id, "bos_token": self.bos_id, "eos_token": self.eos_id}
            named = {
                name: self.backend.id_to_token(token) for name, token in ids.items() if token is not None
            }
            put("special_tokens", named)

    @property
    def vocab_size(self) -> int:
        """Number of ids, the special ones included; a model's embedding may have spare rows beyond."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, special ones only where the text names them.

        Args:
          text: any.

        Returns:
          The ids.

        Raises:
          ValueError: what is not a text.
        """
        if not isinstance(text, str):
            raise InputError(f"encode takes one text, got {text!r:.80}; several are for encode_batch")
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text up to the first end of sequence.

        Args:
          ids: token ids; special ones and those beyond the vocabulary are shown as nothing.
          special: show special ids by their names, and go on after the end.

        Returns:
          The text; bytes that are not UTF-8 become U+FFFD.
        """
        ids = [int(token) for token in np.asarray(ids if hasattr(ids, "__array__") else list(ids), np.int64)]
        if not special:
            ids = list(itertools.takewhile(lambda token: token not in self.eos_ids, ids))
        known = [token for token in ids if 0 <= token < self.vocab_size]
        return self.backend.decode(known, skip_special_tokens=not special)

    def encode_batch(
        self, texts: Sequence[str], length: int, *, side: str = "left", bos: bool = False, eos: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Several texts as one array, padded to a common length.

        Args:
          texts: n texts.
          length: tokens per row T.
          side: where the padding goes: "left" for prompts, "right" for completions.
          bos: begin every row with the BOS id.
          eos: end every row with the EOS id.

        Returns:
          tokens `[n, T]` int32, and mask `[n, T]`, false on padding.

        Raises:
          ValueError: one text in the place of several, one that does not fit, another `side`, or `bos` where there
            is no such id.
        """
        if side not in ("left", "right"):
            raise InputError(f"side must be 'left' or 'right', got {side!r}")
        if bos and self.bos_id is None:
            raise InputError("bos is True: this tokenizer has no id that begins a sequence")
        texts = check_texts(texts)
        tokens = np.full((len(texts), length), self.pad_id, np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, encoding in enumerate(self.backend.encode_batch(texts, add_special_tokens=False)):
            ids = [self.bos_id] * bos + encoding.ids + [self.eos_id] * eos
            if len(ids) > length:
                raise InputError(
                    f"text {row} has {len(ids)} tokens, more than length {length}: {texts[row][:60]!r}"
                )
            where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
            tokens[row, where], mask[row, where] = ids, True
        return jnp.asarray(tokens), jnp.asarray(mask)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        chat_template: str | None = None,
        **variables: Any,
    ) -> str:
        """A conversation as the text the model was tuned on; `encode` it as it is.

        The template runs in a sandbox, by the rules of transformers.

        Args:
          messages: dicts with "role" and "content", "tool_calls" or whatever else the template reads.
          tools: JSON schemas of the functions that the model may call.
          documents: what it may look up.
          add_generation_prompt: end with what begins the assistant's answer.
          chat_template: Jinja source, or the name of one of the tokenizer's templates; None takes "tool_use" for
            tools where there is one of that name, else the default.
          **variables: what else the template reads, such as `enable_thinking`; they go before special tokens.

        Returns:
          The text.

        Raises:
          ValueError: no template, one that refuses these messages, or an argument that is not for text.
          MissingPackage: the package `jinja2` is not installed.
        """
        for name in variables:
            if name in _NOT_OF_TEXT:
                raise InputError(
                    f"chat has no {name!r}: it gives text, to which one may add, for encode_batch"
                )
        return render(
            self._template(chat_template, tools),
            {
                **self.special_tokens,
                **plain(variables),
                "messages": plain_messages(messages),
                "tools": plain_dicts("tools", tools),
                "documents": plain_dicts("documents", documents),
                "add_generation_prompt": bool(add_generation_prompt),
            },
        )

    def _template(self, given: str | None, tools: Any) -> str:
        known = self.chat_template
        if isinstance(known, Mapping):
            name = given or ("tool_use" if tools is not None and "tool_use" in known else "default")
            if name not in known and "{" not in name:
                raise InputError(f"there is no chat template {name!r}: chat_template may be {sorted(known)}")
            return known.get(name, name)
        if known is None and given is None:
            raise InputError("this tokenizer has no chat template")
        return known if given is None else given


def _an_id(name: str, value: Any, vocab_size: int | None = None) -> int:
    """A Python integer out of any kind of integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(f"{name} is {value!r:.80}: it must be a token's id")
    value = operator.index(value)
    if value < 0 or (vocab_size is not None and value >= vocab_size):
        known = "" if vocab_size is None else f" below {vocab_size}"
        raise InputError(f"{name} is {value}: it must be a token's id{known}")
    return value


def check_vocabulary(model: Any, other: Any) -> None:
    """Make sure that a model can read a tokenizer's ids, or that two models speak of the same ids.

    A model's embedding may have more rows than the tokenizer has ids (padding), never fewer; teacher and
    student must have the same number.

    Args:
      model: a `Decoder`, the student say.
      other: a tokenizer, or another `Decoder`.

    Raises:
      ValueError: sizes that do not fit, in one line.

    >>> from jaxlab.language import Decoder
    >>> check_vocabulary(Decoder(vocab_size=5), Decoder(vocab_size=6))
    Traceback (most recent call last):
    jaxlab.core.InputError: the models have vocabularies of 5 and 6 ids: they must be the same
    """
    ours, theirs = model.vocab_size, other.vocab_size
    if not hasattr(other, "encode") and ours != theirs:
        raise InputError(f"the models have vocabularies of {ours} and {theirs} ids: they must be the same")
    if ours < theirs:
        raise InputError(
            f"the model has a vocabulary of {ours} ids and the tokenizer of {theirs}: it must not be smaller"
        )
