"""Levels of frames: which frames, in which order, and mixed how."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.semi_supervised import temporal_levels
from tests.compiled import compiled_room

temporal_levels = compiled_room(temporal_levels)

KEY = jax.random.key(0)
LEVELS = (
    jnp.array([[1, 5], [11, 15]]),
    jnp.array([[3, 7], [13, 17]]),
    jnp.array([[0, 2, 4, 6], [10, 12, 14, 16]]),
)


def test_levels_are_served_from_the_last_to_the_first():
    of = lambda levels, frames: [
        x.tolist() for x in temporal_levels.dual_level_indices(KEY, frames, levels=levels)
    ]
    # With one frame in each slot nothing is drawn. A level of n of S slots is due at 0, S / n, 2 S / n, ... and takes
    # the first free slot from there on.
    assert of((2, 2, 4), 8) == [[3, 7], [1, 5], [0, 2, 4, 6]]
    assert of((1, 3, 4), 8) == [[5], [1, 3, 7], [0, 2, 4, 6]]  # due at 0, 2.67, 5.33: 1, 3, 7
    # 8 / 3: the context is due at 0, 2.67 and 5.33.
    assert of((2, 3, 3), 8) == [[2, 5], [1, 4, 7], [0, 3, 6]]
    assert of((1, 1, 3), 5) == [[3], [1], [0, 2, 4]]


@pytest.mark.parametrize(("slots", "frames"), [(8, 12), (8, 20), (6, 9), (6, 15), (5, 7), (7, 24)])
def test_slots_are_rounded_as_python_rounds(slots, frames):
    draws = jax.jit(jax.vmap(lambda key: temporal_levels.dual_level_indices(key, frames, levels=(slots,))[0]))
    found = np.asarray(draws(jax.random.split(KEY, 400)))
    for slot in range(slots):
        start, end = round(slot * frames / slots), round((slot + 1) * frames / slots)
        assert set(found[:, slot]) == set(range(start, end))


@pytest.mark.parametrize("frames", [8, 11, 16, 100])
@pytest.mark.parametrize("levels", [(2, 2, 4), (4, 4), (1, 2, 3)])
def test_levels_are_ascending_disjoint_and_inside(frames, levels):
    length = jnp.full(50, frames)
    found = jax.jit(lambda key: temporal_levels.dual_level_indices(key, length, levels=levels))(KEY)
    assert [level.shape for level in found] == [(50, n) for n in levels]
    for level in found:
        assert (np.diff(level, axis=1) > 0).all()
    together = np.sort(np.concatenate(found, axis=1), axis=1)
    assert (np.diff(together, axis=1) > 0).all()
    assert together.min() >= 0
    assert together.max() < frames


def test_the_context_spans_the_clip_and_every_frame_of_a_slot_can_come():
    *_, context = temporal_levels.dual_level_indices(KEY, jnp.full(200, 16))
    # Slots 0, 2, 4, 6 of eight slots of two frames.
    for column, slot in enumerate((0, 2, 4, 6)):
        assert set(np.unique(context[:, column])) == {2 * slot, 2 * slot + 1}


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_short_clips_repeat_frames_in_order(frames):
    found = temporal_levels.dual_level_indices(KEY, frames)
    for level in found:
        assert (np.diff(level) >= 0).all()
        assert level.min() >= 0
        assert level.max() < frames


def test_lengths_may_differ_and_be_traced():
    lengths = jnp.array([8, 16, 24])
    found = jax.jit(temporal_levels.dual_level_indices)(KEY, lengths)
    assert (jnp.concatenate(found, axis=1).max(axis=1) >= lengths - lengths // 8).all()
    assert (jnp.concatenate(found, axis=1) < lengths[:, None]).all()


def test_frames_are_taken_and_gradient_goes_back_to_them():
    clips = jnp.arange(24.0).reshape(2, 6, 2)
    indices = (jnp.array([[0, 5], [1, 1]]), jnp.array([[2], [3]]))
    fine, context = temporal_levels.take_levels(clips, indices)
    np.testing.assert_array_equal(fine, [[[0, 1], [10, 11]], [[14, 15], [14, 15]]])
    np.testing.assert_array_equal(context, [[[4, 5]], [[18, 19]]])
    gradient = jax.grad(lambda c: temporal_levels.take_levels(c, indices)[0].sum())(clips)
    np.testing.assert_array_equal(gradient[..., 0], [[1, 0, 0, 0, 0, 1], [0, 2, 0, 0, 0, 0]])


def test_moderate_reverses_all_but_the_context():
    fine, other, context = temporal_levels.moderate_perturb(LEVELS)
    assert fine.tolist() == [[5, 1], [15, 11]]
    assert other.tolist() == [[7, 3], [17, 13]]
    assert context.tolist() == LEVELS[2].tolist()
    back = temporal_levels.moderate_perturb((fine, other, context))
    chex.assert_trees_all_equal(back, LEVELS)
    full = temporal_levels.moderate_perturb(LEVELS, reverse=(True, True, True))
    assert full[2].tolist() == [[6, 4, 2, 0], [16, 14, 12, 10]]


def test_shuffling_deals_the_same_frames_anew():
    clips = tuple(jnp.repeat(level[:1], 300, axis=0) for level in LEVELS)
    found = jax.jit(temporal_levels.shuffle_levels)(KEY, clips)
    assert [level.shape for level in found] == [level.shape for level in clips]
    np.testing.assert_array_equal(
        np.sort(jnp.concatenate(found, axis=1), axis=1), np.tile(np.arange(8), (300, 1))
    )
    # Every frame lands everywhere: its mean over clips is that of all frames, 3.5 +- 2.3 / sqrt(300).
    np.testing.assert_allclose(jnp.concatenate(found, axis=1).mean(axis=0), 3.5, atol=0.6)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_a_tube_keeps_the_floor_of_the_ratio(ratio):
    masks = jax.vmap(lambda key: temporal_levels.tube_mask(key, 10, ratio))(jax.random.split(KEY, 50))
    assert set(np.sum(masks, axis=1).tolist()) == {int(ratio * 10)}
    if 0 < ratio < 0.9:
        assert len(np.unique(masks, axis=0)) > 10


def test_a_traced_ratio_gives_the_same_tube():
    traced = jax.jit(lambda ratio: temporal_levels.tube_mask(KEY, 16, ratio))(0.4)
    np.testing.assert_array_equal(traced, temporal_levels.tube_mask(KEY, 16, 0.4))


def test_mixing_by_hand_and_its_gradient():
    tokens = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])[..., None]
    partner, mask = jnp.array([1, 1]), jnp.array([True, False])
    mixed = temporal_levels.tube_mix(tokens, partner, mask)
    np.testing.assert_array_equal(mixed[..., 0], [[[1, 6], [3, 8]], [[5, 6], [7, 8]]])
    gradient = jax.grad(lambda x: temporal_levels.tube_mix(x, partner, mask).sum())(tokens)
    np.testing.assert_array_equal(gradient[..., 0], [[[1, 0], [1, 0]], [[1, 2], [1, 2]]])
    np.testing.assert_array_equal(temporal_levels.tube_mix(tokens, partner, jnp.ones(2)), tokens)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: temporal_levels.dual_level_indices(KEY, 8, levels=(2, 0)),
            "levels must be whole numbers of at least 1 frame",
        ),
        (lambda: temporal_levels.dual_level_indices(KEY, 0), "num_frames must be at least 1, got 0"),
        (
            lambda: temporal_levels.take_levels(jnp.ones((2, 4)), (jnp.zeros((3, 1), int),)),
            r"indices \[B, n\], got \(3, 1\)",
        ),
        (
            lambda: temporal_levels.moderate_perturb((jnp.ones((2, 4)), jnp.ones((3, 4)))),
            "differ in n alone",
        ),
        (
            lambda: temporal_levels.moderate_perturb(LEVELS, reverse=(True,)),
            "one entry for each of the 3 levels",
        ),
        (lambda: temporal_levels.shuffle_levels(KEY, (jnp.ones(2),)), "differ in n alone"),
        (lambda: temporal_levels.tube_mask(KEY, 0, 0.5), "num_tokens is 0"),
        (lambda: temporal_levels.tube_mask(KEY, 4, 1.5), "ratio must be in"),
        (
            lambda: temporal_levels.tube_mix(jnp.ones((2, 3, 4)), jnp.zeros(2, int), jnp.ones(3)),
            r"mask \[P\], got",
        ),
        (
            lambda: temporal_levels.tube_mix(jnp.ones((2, 3, 4)), jnp.zeros(2), jnp.ones(4)),
            "partner must be integers",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)
