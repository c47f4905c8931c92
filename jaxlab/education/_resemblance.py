"""Texts that stand for real ones: near in meaning, and without what would give the real one away."""

import re
from collections import Counter
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, normalize
from jaxlab.core.check import InputError, full_mask


def bert_score(
    reference: jax.Array,
    candidate: jax.Array,
    reference_mask: jax.Array,
    candidate_mask: jax.Array,
    *,
    reference_weights: jax.Array | None = None,
    candidate_weights: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """How well the tokens of two texts find each other (BERTScore), per pair.

    Unrelated texts score high, too: show shuffled pairs beside it. Padding has similarity 0, so that in a padded batch
    no best match is negative, as in the authors' code. No rescaling by a baseline. Gradients flow into the vectors.

        P = sum_i w_i max_j cos(c_i, r_j) / sum_i w_i,   R the same from the reference's tokens,   F = 2 P R / (P + R)

    Args:
      reference: `[B, K, D]` contextual embeddings, of any length.
      candidate: `[B, L, D]`.
      reference_mask: `[B, K]` bool or {0, 1}, the tokens that exist.
      candidate_mask: `[B, L]`.
      reference_weights: `[B, K]` at least 0, 0 for tokens at the ends; None weighs all alike. See `idf_weights`.
      candidate_weights: `[B, L]`.

    Returns:
      (P, R, F), each `[B]` float32 (float64 for float64 input) in [-1, 1]; 0 where either side has no weight.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Zhang et al., BERTScore: Evaluating Text Generation with BERT, 2020, section 3.

    >>> x = jnp.eye(2)[None]
    >>> p, r, f = bert_score(x, x[:, :1], jnp.ones((1, 2)), jnp.ones((1, 1)))
    >>> p.item(), r.item(), round(f.item(), 4)
    (1.0, 0.5, 0.6667)
    """
    ours, theirs = np.shape(reference), np.shape(candidate)
    if len(ours) != 3 or len(theirs) != 3 or ours[0] != theirs[0] or ours[2] != theirs[2]:
        raise InputError(f"reference {ours} must be [B, K, D] and candidate {theirs} [B, L, D]")
    weights = []
    sides = (("reference", ours, reference_mask, reference_weights),)
    sides += (("candidate", theirs, candidate_mask, candidate_weights),)
    units = []
    for (name, shape, mask, weight), x in zip(sides, (reference, candidate)):
        exists = full_mask(mask, shape[:2], f"tokens of {name}", name=f"{name}_mask")
        units.append(normalize(jnp.where(exists[..., None], as_float(x), 0.0)))
        weight = jnp.ones(shape[:2]) if weight is None else as_float(weight)
        if weight.shape != shape[:2]:
            raise InputError(f"{name}_weights {weight.shape} must be {shape[:2]}")
        weights.append(jnp.where(exists, weight, 0.0).astype(units[-1].dtype))
    cosine = jnp.einsum("bld,bkd->blk", units[1], units[0])
    totals = [jnp.sum(weight, axis=1) for weight in weights]
    some = (totals[0] > 0) & (totals[1] > 0)
    mean = lambda best, weight, total: jnp.where(
        some, jnp.sum(best * weight, axis=1) / jnp.where(some, total, 1.0), 0.0
    )
    best = lambda axis: (
        jnp.max(cosine, axis=axis) if cosine.size else jnp.zeros(np.delete(cosine.shape, axis))
    )
    precision = mean(best(2), weights[1], totals[1])
    recall = mean(best(1), weights[0], totals[0])
    both = precision + recall
    f = jnp.where(both == 0, 0.0, 2 * precision * recall / jnp.where(both == 0, 1.0, both))
    return precision, recall, f


def idf_weights(
    tokens: np.ndarray, mask: np.ndarray, *, corpus: Sequence[Sequence[int]], ends: Sequence[int] = ()
) -> np.ndarray:
    """Weights of tokens by how few of the reference texts have them, on the host.

        log((M + 1) / (c + 1)),   c of M texts hold the token

    Args:
      tokens: `[B, L]` integers.
      mask: `[B, L]`, the tokens that exist.
      corpus: M lists of tokens, of the references alone.
      ends: tokens that weigh nothing, at the beginning and end of a text.

    Returns:
      `[B, L]` float32, 0 where no token exists.

    Raises:
      ValueError: if tokens and mask differ in shape.

    Reference: Zhang et al., BERTScore: Evaluating Text Generation with BERT, 2020, section 3.

    >>> idf_weights(np.array([[0, 7]]), np.ones((1, 2)), corpus=[[0, 7], [0]], ends=(0,)).round(4)
    array([[0.    , 0.4055]], dtype=float32)
    """
    if np.shape(tokens) != np.shape(mask):
        raise InputError(f"tokens {np.shape(tokens)} and mask {np.shape(mask)} must have the same shape")
    found = Counter(token for text in corpus for token in set(text))
    weigh = lambda token: 0.0 if token in ends else np.log((len(corpus) + 1) / (found[token] + 1))
    made = [weigh(int(token)) for token in np.ravel(tokens)]
    return np.where(np.asarray(mask, bool), np.reshape(made, np.shape(tokens)), 0.0).astype(np.float32)


def ngram_overlap(text: str, source: str, *, n: int = 5) -> float:
    """Share of a text's runs of n words that stand in the source, too: how much was copied.

    Args:
      text: what may be a copy.
      source: the original.
      n: words in a run, at least 1; case and punctuation do not count.

    Returns:
      In [0, 1]; 0 for a text of fewer than n words.

    Raises:
      ValueError: n below 1.

    Reference: n-gram matches as in Papineni et al., BLEU, 2002, without clipped counts.

    >>> ngram_overlap("We sort the list twice.", "They sort the list once.", n=2)
    0.5
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    words = lambda text: re.findall(r"\w+", text.lower())
    runs = lambda words: [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    own, known = runs(words(text)), set(runs(words(source)))
    return sum(run in known for run in own) / len(own) if own else 0.0


def leaked(text: str, patterns: Sequence[str]) -> list[str]:
    """What a privacy gate finds in a text: names, numbers, institutions.

    Args:
      text: to be published.
      patterns: regular expressions; case does not count.

    Returns:
      The matches, in the order of the patterns; empty for a text that passes.

    Raises:
      ValueError: a pattern that is no regular expression.

    Reference: SCALEFeedback, 2025: the gate behind its rewriting of submissions.

    >>> leaked("by Ada Lovelace, id 12345", [r"lovelace", r"\\b\\d{5}\\b"]), leaked("by someone", ["lovelace"])
    (['Lovelace', '12345'], [])
    """
    found = []
    for pattern in patterns:
        try:
            found += [match[0] for match in re.finditer(pattern, text, re.IGNORECASE)]
        except re.error as error:
            raise InputError(f"pattern {pattern!r} is no regular expression: {error}") from None
    return found
