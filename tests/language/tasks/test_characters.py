"""The character tokenizer."""

import numpy as np
import pytest

from jaxlab.language._characters import CharacterTokenizer

TOKENIZER = CharacterTokenizer("ab+ ")


def test_ids():
    assert (TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id, TOKENIZER.eos_ids) == (0, 1, 2, (2,))
    assert TOKENIZER.encode("ab+ ") == [3, 4, 5, 6]
    assert TOKENIZER.encode("") == []
    assert TOKENIZER.vocab_size == 7


@pytest.mark.parametrize("kind", [list, np.array, iter])
def test_decode(kind):
    # Padding and BOS are nothing, an id beyond the vocabulary shows, and nothing is read after EOS.
    assert TOKENIZER.decode(kind([0, 0, 1, 3, 0, 6, 9, -1, 2, 4, 4])) == "a \ufffd\ufffd"
    assert TOKENIZER.decode(kind([4, 3])) == "ba"


def test_round_trip():
    text = "a+ +b a"
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_encode_batch():
    tokens, mask = TOKENIZER.encode_batch(["a", "", "b+a"], 4)
    assert tokens.tolist() == [[0, 0, 0, 3], [0, 0, 0, 0], [0, 4, 5, 3]]
    assert mask.tolist() == [[False] * 3 + [True], [False] * 4, [False] + [True] * 3]
    assert (tokens.dtype, mask.dtype) == (np.int32, bool)
    tokens, mask = TOKENIZER.encode_batch(["a", "b+"], 4, side="right", bos=True, eos=True)
    assert tokens.tolist() == [[1, 3, 2, 0], [1, 4, 5, 2]]
    assert mask.tolist() == [[True] * 3 + [False], [True] * 4]
    assert [a.shape for a in TOKENIZER.encode_batch([], 4)] == [(0, 4), (0, 4)]


def test_equal_by_alphabet():
    assert CharacterTokenizer("ab+ ") == TOKENIZER
    assert hash(CharacterTokenizer("ab+ ")) == hash(TOKENIZER)
    assert CharacterTokenizer("ba+ ") != TOKENIZER


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TOKENIZER.encode("abc"), "'c' is not in the alphabet 'ab[+] '"),
        (lambda: CharacterTokenizer("aba"), "each of its characters once, got 'aba'"),
        (lambda: CharacterTokenizer(["a", "b"]), r"alphabet must be a text, got \['a', 'b'\]"),
        (lambda: CharacterTokenizer(""), "each of its characters once"),
        (lambda: TOKENIZER.encode_batch(["a", "ab+"], 2), "text 1 has 3 tokens, more than length 2"),
        (lambda: TOKENIZER.encode_batch(["a"], 1, eos=True), "text 0 has 2 tokens"),
        (lambda: TOKENIZER.encode_batch(["a"], 2, side="top"), "'left' or 'right', got 'top'"),
        (
            lambda: TOKENIZER.encode_batch("ab", 2),
            "texts must be a list, got 'ab'; a single one is a list of one",
        ),
        (lambda: TOKENIZER.encode_batch(["a", ["b"]], 2), r"list of texts, got \['b'\] as number 1"),
        (
            lambda: TOKENIZER.encode(["a", "b"]),
            r"encode takes one text, got \['a', 'b'\]; several are for encode_batch",
        ),
    ],
)
def test_errors_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)
