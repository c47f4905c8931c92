"""The sampler against the full forward pass, and its frequencies against the exact distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxlab.core import MASKED_LOGIT
from jaxlab.language import (
    Decoder,
    Rollout,
    check_sampling,
    completion_hidden,
    filter_logits,
    output_matrix,
    sample,
    stack_layers,
    token_log_probs,
)

EOS = 2
MODEL = Decoder(
    vocab_size=9,
    width=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    mlp_width=24,
    qkv_bias=True,
    qk_norm=True,
)
PARAMS = jax.tree.map(lambda x: x * 6.0 if x.shape == (9, 16) else x, jax.jit(MODEL.init)(jax.random.key(0)))
PROMPTS = np.array([[0, 0, 1, 5], [1, 4, 3, 8], [0, 1, 7, 6]])
MASK = PROMPTS > 0


@functools.partial(jax.jit, static_argnames=("new", "options"))
def _sample(key, new, options=()):
    return sample(MODEL, PARAMS, PROMPTS, MASK, key, max_new_tokens=new, **{"eos": EOS, **dict(options)})


def test_stacked_layers_sample_and_score_alike():
    model = Decoder(vocab_size=9, width=16, num_layers=3, num_heads=4, num_kv_heads=2, mlp_width=24)
    params = jax.jit(model.init)(jax.random.key(0))

    @jax.jit
    def run(params):
        out = sample(model, params, PROMPTS, MASK, jax.random.key(2), max_new_tokens=5, eos=EOS, segment=2)
        return out, completion_hidden(model, params, PROMPTS, MASK, out.tokens, out.mask)

    (one, one_hidden), (other, other_hidden) = run(params), run(stack_layers(params))
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)
    np.testing.assert_allclose(one_hidden, other_hidden, atol=1e-5)


@jax.jit
def _logits(tokens, mask):
    return MODEL.logits(PARAMS, MODEL.apply(PARAMS, tokens, None, mask))


def _greedy_by_hand(prompt: list[int], new: int) -> list[int]:
    """Argmax of the full forward pass over the growing sequence of one row, without padding."""
    row = list(prompt)
    for _ in range(new):
        padded = np.array([row + [0] * (12 - len(row))])
        scores = np.asarray(_logits(padded, np.arange(12)[None] < len(row)))[0, len(row) - 1]
        row.append(int(scores.argmax()))
        if row[-1] == EOS:
            break
    return row[len(prompt) :]


def test_greedy_is_the_argmax_of_the_full_forward_pass():
    out = jax.tree.map(np.asarray, _sample(jax.random.key(0), 6, (("temperature", 0.0),)))
    for row, prompt in enumerate(([1, 5], [1, 4, 3, 8], [1, 7, 6])):
        length = int(out.mask[row].sum())
        assert out.tokens[row, :length].tolist() == _greedy_by_hand(prompt, 6)
        assert (out.tokens[row, length:] == 0).all()


@pytest.mark.parametrize("options", [(("segment", 3),), (("stop_early", False),)])
def test_segments_and_early_stop_change_nothing(options):
    plain, other = _sample(jax.random.key(3), 7), _sample(jax.random.key(3), 7, options)
    np.testing.assert_array_equal(plain.tokens, other.tokens)
    np.testing.assert_array_equal(plain.mask, other.mask)
    np.testing.assert_allclose(plain.log_probs, other.log_probs, atol=1e-5)


def test_log_probs_are_those_of_the_full_forward_pass():
    out = _sample(jax.random.key(4), 7, (("num_samples", 8),))

    @jax.jit
    def full(out):
        hidden = completion_hidden(MODEL, PARAMS, PROMPTS, MASK, out.tokens, out.mask)
        return jnp.where(out.mask, token_log_probs(hidden, output_matrix(PARAMS), out.tokens), 0.0)

    assert out.tokens.shape == (24, 7)
    np.testing.assert_allclose(out.log_probs, full(out), atol=2e-5)


def _exact_pairs(filters: dict) -> np.ndarray:
    """Probability of every pair of first two tokens after the first prompt, from full forward passes."""

    @jax.jit
    def next_distribution(rows):
        hidden = MODEL.apply(PARAMS, rows)[:, -1]
        return jax.nn.softmax(filter_logits(MODEL.logits(PARAMS, hidden), **filters), axis=-1)

    first = np.asarray(next_distribution(np.array([[1, 5]])))[0]
    second = np.array(next_distribution(np.array([[1, 5, token] for token in range(9)])))
    second[EOS] = np.eye(9)[0]  # after the end only padding
    return np.asarray(first[:, None] * second, np.float64)


@pytest.mark.parametrize("filters", [{"temperature": 1.0}, {"temperature": 1.7, "top_k": 5, "min_p": 0.05}])
def test_frequencies_follow_the_exact_distribution(filters):
    count = 20_000
    run = lambda key: sample(
        MODEL, PARAMS, PROMPTS[:1], MASK[:1], key, max_new_tokens=2, eos=EOS, num_samples=count, **filters
    )
    tokens = np.asarray(jax.jit(run)(jax.random.key(7)).tokens)
    observed = np.bincount(tokens[:, 0] * 9 + tokens[:, 1], minlength=81)
    expected = _exact_pairs(filters).reshape(-1) * count
    assert observed[expected < 1e-9].sum() == 0
    common = expected > 5
    rest = [observed[~common].sum()], [expected[~common].sum() + 1e-9]
    f_observed = np.concatenate([observed[common], rest[0]])
    f_expected = np.concatenate([expected[common], rest[1]])
    f_expected *= count / f_expected.sum()
    assert common.sum() > 10
    assert stats.chisquare(f_observed, f_expected).pvalue > 1e-3


def test_a_row_ends_with_its_first_end_token():
    out = _sample(jax.random.key(5), 7, (("num_samples", 40),))
    ended = 0
    for tokens, mask, log_probs in zip(*map(np.asarray, out)):
        length = mask.sum()
        assert mask[:length].all()
        assert (tokens[length:] == 0).all()
        assert (log_probs[length:] == 0).all()
        assert EOS not in tokens[: length - 1]
        ended += tokens[length - 1] == EOS
        assert length == 7 or tokens[length - 1] == EOS
    assert 0 < ended < len(out.tokens)


def test_without_an_end_token_every_row_is_full():
    out = _sample(jax.random.key(0), 3, (("eos", None),))
    assert isinstance(out, Rollout)
    assert out.mask.all()


def test_several_end_tokens():
    out = _sample(jax.random.key(0), 3, (("eos", range(9)),))
    assert out.mask.sum(axis=1).tolist() == [1, 1, 1]


def test_a_row_of_padding_only_gets_an_empty_completion():
    mask = MASK & (np.arange(3) != 1)[:, None]
    run = jax.jit(lambda key: sample(MODEL, PARAMS, PROMPTS, mask, key, max_new_tokens=3, eos=None))
    out = run(jax.random.key(0))
    assert out.mask.sum(axis=1).tolist() == [3, 0, 3]
    assert np.isfinite(out.log_probs).all()
    assert out.log_probs[1].tolist() == [0, 0, 0]


class _Counting(Decoder):
    """Counts the decoding steps that really run."""

    steps = 0

    def decode(self, *args):
        def count():
            _Counting.steps += 1

        jax.debug.callback(count)
        return super().decode(*args)


@pytest.mark.parametrize(("stop_early", "expected"), [(True, 0), (False, 9)])
def test_the_loop_stops_when_every_row_has_ended(stop_early, expected):
    model = _Counting(vocab_size=9, width=16, num_layers=1, num_heads=4)
    _Counting.steps = 0

    @jax.jit
    def run(key):
        return sample(model, model.init(key), PROMPTS, MASK, key, max_new_tokens=10, eos=range(9), segment=4,
                      stop_early=stop_early)  # fmt: skip

    jax.block_until_ready(run(jax.random.key(0)))
    jax.effects_barrier()
    assert _Counting.steps == expected


def test_seeds_mapped_and_looped_agree():
    keys = jax.random.split(jax.random.key(1), 3)
    run = lambda key: _sample(key, 5, (("stop_early", False),))
    together = jax.vmap(run)(keys)
    for index, key in enumerate(keys):
        np.testing.assert_array_equal(together.tokens[index], run(key).tokens)


def test_filters_by_hand():
    # p = (.5, .25, .125, .125)
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    kept = lambda **options: (filter_logits(logits, **options) > MASKED_LOGIT).tolist()
    assert kept() == [True] * 4
    assert kept(top_k=1) == [True, False, False, False]
    assert kept(top_k=3) == [True] * 4  # a tie at the boundary
    assert kept(top_p=0.5) == [True, False, False, False]
    assert kept(top_p=0.6) == [True, True, False, False]
    assert kept(min_p=0.5) == [True, True, False, False]
    assert kept(min_p=0.51) == [True, False, False, False]
    assert kept(top_k=2, top_p=0.6) == [True, False, False, False]  # of two, the first has 2/3
    np.testing.assert_allclose(filter_logits(logits, temperature=0.5), 2 * logits, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": 1.0, "top_k": 0}, "top_k is 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p is 0.0"),
        ({"temperature": 1.0, "min_p": 1.5}, "min_p is 1.5"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        check_sampling(**options)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        (np.zeros((2, 0), np.int32), {}, "at least one position"),
        (PROMPTS, {"max_new_tokens": 0}, "max_new_tokens is 0"),
        (PROMPTS, {"segment": 0}, "segment is 0"),
        (PROMPTS, {"num_samples": 0}, "num_samples is 0"),
        (PROMPTS, {"max_new_tokens": 2045}, "exceed the model's context"),
        (PROMPTS, {"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_lengths_that_do_not_fit_are_named(prompts, options, message):
    options = {"max_new_tokens": 2, "eos": EOS} | options
    with pytest.raises(ValueError, match=message):
        sample(MODEL, PARAMS, prompts, prompts > 0, jax.random.key(0), **options)
    with pytest.raises(ValueError, match="shape of prompts"):
        sample(MODEL, PARAMS, PROMPTS, MASK[:1], jax.random.key(0), max_new_tokens=1, eos=EOS)


@pytest.mark.parametrize(
    "eos", [np.int64(EOS), np.array(EOS), np.array([EOS]), jnp.int32(EOS), [np.int32(EOS)], (EOS,)]
)
def test_an_end_token_of_any_integer_type(eos):
    plain = _sample(jax.random.key(0), 4)
    run = jax.jit(lambda key: sample(MODEL, PARAMS, PROMPTS, MASK, key, max_new_tokens=4, eos=eos))
    other = run(jax.random.key(0))
    np.testing.assert_array_equal(plain.tokens, other.tokens)
    np.testing.assert_array_equal(plain.mask, other.mask)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.3}])
def test_a_model_of_nans_writes_tokens_of_its_vocabulary_and_says_nan(options):
    broken = jax.tree.map(lambda x: x * jnp.nan, PARAMS)
    run = jax.jit(
        lambda p: sample(MODEL, p, PROMPTS, MASK, jax.random.key(0), max_new_tokens=3, eos=None, **options)
    )
    out = run(broken)
    assert ((out.tokens >= 0) & (out.tokens < 9)).all()
    assert np.isnan(out.log_probs).all()


def test_one_nan_logit_is_not_filtered_away():
    logits = np.array([[3.0, np.nan, 1.0], [3.0, 2.0, 1.0]], np.float32)
    for options in ({"top_k": 1}, {"top_p": 0.1}, {"min_p": 0.9}):
        assert np.isnan(jax.nn.softmax(filter_logits(logits, **options))).any(-1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eos": 9}, r"eos must be in \[0, 9\), got 9"),
        ({"eos": [2, -1]}, r"eos must be in \[0, 9\), got -1"),
        ({"eos": 2.0}, "eos must be integers, token ids, got float"),
        ({"pad": 9}, r"pad must be in \[0, 9\), got 9"),
        ({"prompts": PROMPTS + 1}, r"prompts must be in \[0, 9\), got 9"),
        ({"prompts": PROMPTS * 1.0}, "prompts must be integers"),
        ({"prompt_mask": 0.5 * MASK}, "prompt_mask must be bool or hold 0 and 1"),
    ],
)
def test_ids_and_masks_that_cannot_be(changes, message):
    given = {"prompts": PROMPTS, "prompt_mask": MASK, "eos": EOS, "pad": 0} | changes
    with pytest.raises(ValueError, match=message) as info:
        sample(MODEL, PARAMS, key=jax.random.key(0), max_new_tokens=2, **given)
    assert "\n" not in str(info.value)
