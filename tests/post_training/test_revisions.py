"""Others' answers in a group, and tokens behind an end: only what was asked for changes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.post_training import Rollouts, append, inject

EOS = 2
TOKENS = np.array([[7, 2, 0], [8, 8, 2], [9, 2, 0], [7, 7, 7], [8, 2, 0], [2, 0, 0]])
MASK = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
LOG_PROBS = np.where(MASK, -1.0 - np.arange(18.0).reshape(6, 3), 0.0).astype(np.float32)
ROLLOUTS = Rollouts(
    prompts=np.ones((2, 2), int), prompt_mask=np.ones((2, 2), bool), tokens=TOKENS, mask=MASK, log_probs=LOG_PROBS,
    teacher_log_probs=0 * LOG_PROBS, rewards=np.float32([1, 0, 0.5, 0, 1, 0]), group=np.repeat([0, 1], 3),
    step=np.int32(0), trained=MASK & (TOKENS != 8), extra={"style": np.arange(6)},
)  # fmt: skip
THEIRS = np.array([[[3, 3, 2], [4, 2, 0]], [[5, 2, 0], [6, 6, 2]]])


def test_the_worst_are_replaced_in_the_order_of_the_answers():
    take = np.array([[False, True], [True, True]])
    put = jax.jit(lambda: inject(ROLLOUTS, THEIRS, THEIRS > 0, np.float32([[5, 6], [7, 8]]), take))
    found, injected = put()
    assert injected.tolist() == [
        0,
        1,
        0,
        1,
        0,
        1,
    ]  # rows 3 and 5 are as bad as each other: the first comes first
    assert found.tokens.tolist() == [[7, 2, 0], [4, 2, 0], [9, 2, 0], [5, 2, 0], [8, 2, 0], [6, 6, 2]]
    assert found.rewards.tolist() == [1, 6, 0.5, 7, 1, 8]
    old = ~np.asarray(injected)
    for name in ("mask", "trained", "log_probs"):
        np.testing.assert_array_equal(getattr(found, name)[old], getattr(ROLLOUTS, name)[old])
    np.testing.assert_array_equal(found.mask[injected], found.tokens[injected] > 0)
    np.testing.assert_array_equal(found.trained[injected], found.mask[injected])
    assert (found.log_probs[injected] == 0).all()
    assert found.extra["style"].tolist() == list(range(6))


def test_nothing_taken_is_nothing_changed():
    found, injected = inject(ROLLOUTS, THEIRS, THEIRS > 0, np.ones((2, 2)), np.zeros((2, 2)))
    assert not injected.any()
    chex.assert_trees_all_equal(found, ROLLOUTS)


@pytest.mark.parametrize("trained", [True, False])
def test_tokens_stand_where_the_end_stood(trained):
    more, there = np.array([[5, 6, 2]] * 6), np.ones((6, 3), bool)
    take = np.array([1, 0, 0, 1, 0, 1], bool)
    found, new = jax.jit(lambda: append(ROLLOUTS, more, there, take, eos=(EOS, 4), trained=trained))()
    assert found.tokens.tolist() == [
        [7, 5, 6, 2, 0, 0], [8, 8, 2, 0, 0, 0], [9, 2, 0, 0, 0, 0], [7, 7, 7, 5, 6, 2], [8, 2, 0, 0, 0, 0],
        [5, 6, 2, 0, 0, 0],
    ]  # fmt: skip
    np.testing.assert_array_equal(found.mask, found.tokens > 0)
    assert new.sum(1).tolist() == [3, 0, 0, 3, 0, 3]
    np.testing.assert_array_equal(found.trained, np.where(new, trained, found.mask & (found.tokens != 8)))
    np.testing.assert_array_equal(found.log_probs[3], [*LOG_PROBS[3], 0, 0, 0])
    np.testing.assert_array_equal(found.rewards, ROLLOUTS.rewards)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: inject(ROLLOUTS, THEIRS[:, :, :2], THEIRS > 0, np.ones((2, 2)), np.ones((2, 2))), "N 3"),
        (
            lambda: inject(ROLLOUTS, *np.ones((2, 2, 4, 3), int), *np.ones((2, 2, 4))),
            "4 answers for groups of 3",
        ),
        (lambda: append(ROLLOUTS, np.ones((5, 2), int), np.ones((5, 2)), np.ones(6), eos=EOS), "B 6"),
        (lambda: append(ROLLOUTS, np.ones((6, 2), int), np.ones((6, 2)), np.ones(2), eos=EOS), "B 6"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()


def test_it_maps_over_seeds():
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), ROLLOUTS)
    take = np.array([[[True, False]] * 2, [[False, False]] * 2])
    found, injected = jax.jit(jax.vmap(lambda r, t: inject(r, THEIRS, THEIRS > 0, jnp.ones((2, 2)), t)))(
        stacked, take
    )
    assert injected.sum(1).tolist() == [2, 0]
    np.testing.assert_array_equal(found.tokens[1], TOKENS)
