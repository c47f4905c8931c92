"""A tokenizer of single characters, for the small languages of procedural tasks."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.language._texts import check_texts

PAD, BOS, EOS = 0, 1, 2
_SPECIAL = 3
_UNKNOWN = "\ufffd"


@dataclasses.dataclass(frozen=True)
class CharacterTokenizer:
    """One token per character: id 0 is padding, 1 begins a sequence, 2 ends it, 3 is the first character.

    It is hashable and compares by its alphabet, so it may be a static argument of a compiled function.

    Args:
        alphabet: the characters, each once, in the order of their ids.

    Raises:
        ValueError: an alphabet that is no text or empty, or a character that occurs twice.

    >>> tokenizer = CharacterTokenizer("0123456789+=")
    >>> tokenizer.encode("1+1=")
    [4, 13, 4, 14]
    >>> tokenizer.decode([0, 1, 4, 13, 4, 14, 2, 9])
    '1+1='
    """

    alphabet: str

    def __post_init__(self):
        if not isinstance(self.alphabet, str):
            raise InputError(f"alphabet must be a text, got {self.alphabet!r:.80}")
        twice = sorted({c for c in self.alphabet if self.alphabet.count(c) > 1})
        if twice or not self.alphabet:
            raise InputError(f"alphabet must hold each of its characters once, got {self.alphabet!r}")

    @property
    def vocab_size(self) -> int:
        """Number of ids, the three special ones included."""
        return _SPECIAL + len(self.alphabet)

    @property
    def pad_id(self) -> int:
        """0, the id of padding."""
        return PAD

    @property
    def bos_id(self) -> int:
        """1, the id that begins a sequence."""
        return BOS

    @property
    def eos_id(self) -> int:
        """2, the id that ends a sequence."""
        return EOS

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends a sequence: this one only."""
        return (EOS,)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {character: _SPECIAL + i for i, character in enumerate(self.alphabet)}

    def encode(self, text: str) -> list[int]:
        """The ids of the characters, without any special one.

        Args:
            text: characters of the alphabet only.

        Returns:
            One id per character.

        Raises:
            ValueError: what is not a text, or a character outside of the alphabet; the message names it.
        """
        if not isinstance(text, str):
            raise InputError(f"encode takes one text, got {text!r:.80}; several are for encode_batch")
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            unknown = error.args[0]
            raise InputError(f"character {unknown!r} is not in the alphabet {self.alphabet!r}") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end of sequence.

        Args:
            ids: token ids. Padding and the begin of the sequence are shown as nothing, an id beyond the
                vocabulary (a model may have spare rows) as U+FFFD.

        Returns:
            The text.
        """
        characters = []
        for token in ids.tolist() if hasattr(ids, "tolist") else ids:
            if token == EOS:
                break
            if token not in (PAD, BOS):
                known = 0 <= token - _SPECIAL < len(self.alphabet)
                characters.append(self.alphabet[token - _SPECIAL] if known else _UNKNOWN)
        return "".join(characters)

    def encode_batch(
        self, texts: Sequence[str], length: int, *, side: str = "left", bos: bool = False, eos: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Several texts as one array, padded to a common length.

        Args:
            texts: n texts.
            length: tokens per row T.
            side: where the padding goes: "left" for prompts, "right" for completions.
            bos: begin every row with the BOS token.
            eos: end every row with the EOS token.

        Returns:
            tokens `[n, T]` int32, and mask `[n, T]`, false on padding.

        Raises:
            ValueError: one text in the place of several, one that does not fit, a character outside of the
                alphabet, or another `side`.
        """
        if side not in ("left", "right"):
            raise InputError(f"side must be 'left' or 'right', got {side!r}")
        texts = check_texts(texts)
        tokens = np.full((len(texts), length), PAD, np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, text in enumerate(texts):
            ids = [BOS] * bos + self.encode(text) + [EOS] * eos
            if len(ids) > length:
                raise InputError(f"text {row} has {len(ids)} tokens, more than length {length}: {text!r}")
            where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
            tokens[row, where], mask[row, where] = ids, True
        return jnp.asarray(tokens), jnp.asarray(mask)
