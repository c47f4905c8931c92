"""The tokenizers of real models, with their chat templates."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._extras import require


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back, as the model's authors trained it.

    Text such as "<|im_end|>" becomes the one special id it names; no other special id is added by itself. Two
    tokenizers are equal only if they are the same object, so it may be a static argument of a compiled function.

    Attributes:
      backend: a `tokenizers.Tokenizer`.
      pad_id: fills rows; the end's id where the files name none.
      bos_id: begins a sequence, or None.
      eos_id: ends one.
      chat_template: Jinja source, or None.

    Reference: Neural Machine Translation of Rare Words with Subword Units (2016), section 3.2, over bytes.

    >>> from tokenizers import Tokenizer as Backend, models
    >>> words = Tokenizer(Backend(models.WordLevel({"<end>": 0, "yes": 1}, "<end>")), pad_id=0, bos_id=None, eos_id=0)
    >>> words.encode("yes"), words.vocab_size
    ([1], 2)
    """

    backend: Any
    pad_id: int
    bos_id: int | None
    eos_id: int
    chat_template: str | None = None

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
        """
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
        if not special and self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
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
          ValueError: a text that does not fit, another `side`, or `bos` where there is no such id.
        """
        if side not in ("left", "right"):
            raise ValueError(f"side must be 'left' or 'right', got {side!r}")
        if bos and self.bos_id is None:
            raise ValueError("bos is True: this tokenizer has no id that begins a sequence")
        tokens = np.full((len(texts), length), self.pad_id, np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, encoding in enumerate(self.backend.encode_batch(list(texts), add_special_tokens=False)):
            ids = [self.bos_id] * bos + encoding.ids + [self.eos_id] * eos
            if len(ids) > length:
                raise ValueError(
                    f"text {row} has {len(ids)} tokens, more than length {length}: {texts[row][:60]!r}"
                )
            where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
            tokens[row, where], mask[row, where] = ids, True
        return jnp.asarray(tokens), jnp.asarray(mask)

    def chat(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """A conversation as the text the model was tuned on; `encode` it as it is.

        The template runs in a sandbox.

        Args:
          messages: dicts with "role" and "content".
          add_generation_prompt: end with what begins the assistant's answer.

        Returns:
          The text.

        Raises:
          ValueError: no template, or one that refuses these messages.
          ModuleNotFoundError: the package `jinja2` is not installed.
        """
        if self.chat_template is None:
            raise ValueError("this tokenizer has no chat template")
        for message in messages:
            if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
                raise ValueError(f"message {message!r} must be a dict with 'role' and 'content'")
        names = {f"{kind}_token": self._name(getattr(self, f"{kind}_id")) for kind in ("pad", "bos", "eos")}
        return _render(
            self.chat_template,
            messages=list(messages),
            add_generation_prompt=add_generation_prompt,
            tools=None,
            **names,
        )

    def _name(self, token: int | None) -> str:
        return "" if token is None else self.backend.id_to_token(token)


def check_vocabulary(model: Any, other: Any) -> None:
    """Make sure that a model can read a tokenizer's ids, or that two models speak of the same ids.

    A model's embedding may have more rows than the tokenizer has ids (padding), never fewer; teacher and
    student must have the same number.

    Args:
      model: a `Decoder`, the student say.
      other: a tokenizer, or another `Decoder`.

    Raises:
      ValueError: sizes that do not fit, in one line.

    Reference: distillation over logits compares them id by id, Distilling the Knowledge in a Neural Network (2015).

    >>> from jaxlab.language import Decoder
    >>> check_vocabulary(Decoder(vocab_size=5), Decoder(vocab_size=6))
    Traceback (most recent call last):
    ValueError: the models have vocabularies of 5 and 6 ids: they must be the same
    """
    ours, theirs = model.vocab_size, other.vocab_size
    if not hasattr(other, "encode") and ours != theirs:
        raise ValueError(f"the models have vocabularies of {ours} and {theirs} ids: they must be the same")
    if ours < theirs:
        raise ValueError(
            f"the model has a vocabulary of {ours} ids and the tokenizer of {theirs}: it must not be smaller"
        )


def _render(template: str, **values: Any) -> str:
    sandbox, exceptions = require("jinja2.sandbox"), require("jinja2.exceptions")
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> None:
        raise exceptions.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(template).render(**values)
    except Exception as error:  # a template is a program, and not ours
        raise ValueError(f"the chat template refuses: {' '.join(str(error).split())}") from None
