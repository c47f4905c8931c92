"""Maps of sounding objects, the contrastive loss of EZ-VSL's code, boxes as maps."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.semi_supervised import sounding_maps

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "dual_mean_teacher.npz"))
FEATURES = jax.random.normal(jax.random.key(0), (8, 3, 2, 5))
AUDIO = jax.random.normal(jax.random.key(1), (8, 5))
contrast = jax.jit(sounding_maps.audio_visual_contrastive, static_argnames=("normalized", "axis_name"))
contrast_grad = jax.jit(
    jax.value_and_grad(sounding_maps.audio_visual_contrastive, argnums=(0, 1)),
    static_argnames=("normalized", "axis_name"),
)
cross_entropy = jax.jit(sounding_maps.pixel_cross_entropy)


def test_the_contrastive_loss_matches_the_third_partys_code():
    image = jnp.moveaxis(jnp.float32(GOLDEN["in_img"]), 1, -1)
    value, grads = contrast_grad(image, jnp.float32(GOLDEN["in_aud"]), temperature=0.03, normalized=True)
    np.testing.assert_allclose(value, GOLDEN["out_loss"], rtol=1e-5)
    expected = np.moveaxis(GOLDEN["grad_img"], 1, -1), GOLDEN["grad_aud"]
    for got, want in zip(grads, expected):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
    # Unit vectors stay what they are, so normalising changes no value (the gradient loses its radial part).
    again = contrast(image, jnp.float32(GOLDEN["in_aud"]), temperature=0.03)
    np.testing.assert_allclose(again, GOLDEN["out_loss"], rtol=1e-5)
    # Their logits [image, sound, H, W] of the pairs that belong together are cosines over the temperature.
    maps = sounding_maps.audio_visual_map(image, jnp.float32(GOLDEN["in_aud"]))
    cosine = 0.03 * GOLDEN["out_logits"][np.arange(4), np.arange(4)]
    np.testing.assert_allclose(maps, (1 + cosine) / 2, atol=1e-6)


def test_the_map_by_hand():
    # cos(45 degrees) = 0.707107: affine (1 + 0.707107) / 2 = 0.853553; sigmoid((0.707107 - 0.5) / 0.5) = 0.602091.
    features = jnp.array([[[[3.0, 3.0], [-1.0, 0.0], [0.0, 0.0]]]])
    audio = jnp.array([[2.0, 0.0]])
    np.testing.assert_allclose(
        sounding_maps.audio_visual_map(features, audio), [[[0.853553, 0.0, 0.5]]], atol=1e-6
    )
    warm = sounding_maps.audio_visual_map(features, audio, temperature=0.5, offset=0.5)
    np.testing.assert_allclose(warm, [[[0.602091, 0.047426, 0.268941]]], atol=1e-5)


def test_contrast_by_hand():
    # Two images of two places, T = 1. Image 0 sees (1, 0) and (0, 1): similarity 1 to both sounds; image 1 sees
    # (-1, 0) and (0, 1): similarity max(-1, 0) = 0 to sound (1, 0) and 1 to sound (0, 1).
    # Images' rows: ln(e + e) - 1 = 0.693147 and ln(1 + e) - 1 = 0.313262; sounds' columns: ln(e + 1) - 1 and ln 2.
    features = jnp.array([[[[1.0, 0.0], [0.0, 1.0]]], [[[-1.0, 0.0], [0.0, 1.0]]]])
    got = contrast(features, jnp.eye(2), temperature=1.0)
    np.testing.assert_allclose(got, (0.693147 + 0.313262) * 2 / 2, rtol=1e-5)


def test_contrast_over_a_mask_is_contrast_of_what_is_left():
    where = jnp.array([1, 1, 0, 1, 1, 0, 1, 1])
    features, audio = FEATURES.at[2].set(jnp.nan), AUDIO.at[5].set(jnp.nan)
    value, grads = contrast_grad(features, audio, where=where)
    rows = np.flatnonzero(where)
    expected, expected_grads = contrast_grad(FEATURES[rows], AUDIO[rows])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for got, want in zip(grads, expected_grads):
        np.testing.assert_allclose(got[rows], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(got[np.array([2, 5])], 0.0)
    assert contrast(FEATURES, AUDIO, where=jnp.zeros(8)) == 0
    assert np.isnan(contrast(FEATURES.at[0].set(jnp.nan), AUDIO))


@pytest.mark.parametrize("scale", [1e4, 1e-30, 0.0])
def test_extreme_features_are_finite(scale):
    value, grads = contrast_grad(scale * FEATURES, scale * AUDIO)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)
    assert np.isfinite(sounding_maps.audio_visual_map(scale * FEATURES, scale * AUDIO, temperature=0.1)).all()


def test_pixel_cross_entropy_by_hand():
    # -[ln 0.8] and -[0.25 ln 0.5 + 0.75 ln 0.5]: (0.223144 + 0.693147) / 2.
    maps, targets = jnp.array([[[0.8, 0.5]]]), jnp.array([[[1.0, 0.25]]])
    np.testing.assert_allclose(cross_entropy(maps, targets), [0.458145], rtol=1e-5)
    kept = cross_entropy(maps.at[0, 0, 1].set(jnp.nan), targets, where=jnp.array([[[1, 0]]]))
    np.testing.assert_allclose(kept, [0.223144], rtol=1e-5)
    assert np.isnan(cross_entropy(maps.at[0, 0, 1].set(jnp.nan), targets)).all()
    # Certain and wrong: -ln(1e-6), finite.
    np.testing.assert_allclose(cross_entropy(jnp.zeros((1, 1, 1)), jnp.ones((1, 1, 1))), [13.8155], rtol=1e-5)
    np.testing.assert_array_equal(cross_entropy(maps, targets, where=jnp.zeros(())), [0.0])


def test_targets_receive_no_gradient_and_maps_the_right_one():
    maps, targets = jax.random.uniform(jax.random.key(2), (2, 2, 3, 3))
    np.testing.assert_array_equal(jax.grad(lambda t: cross_entropy(maps, t).sum())(targets), 0.0)
    with jax.enable_x64(True):
        check_grads(
            lambda m: sounding_maps.pixel_cross_entropy(m, jnp.float64(targets)),
            (jnp.float64(maps),),
            1,
            modes=["rev"],
        )


def test_half_precision_gives_float32():
    value, grads = contrast_grad(FEATURES.astype(jnp.bfloat16), AUDIO.astype(jnp.float16))
    assert value.dtype == jnp.float32
    assert grads[0].dtype == jnp.bfloat16
    maps = sounding_maps.audio_visual_map(FEATURES.astype(jnp.bfloat16), AUDIO.astype(jnp.bfloat16))
    assert maps.dtype == jnp.float32
    assert cross_entropy(maps.astype(jnp.bfloat16), maps).dtype == jnp.float32


def test_a_box_as_a_map():
    # y from 0.5 to 2, x from 1 to 2.25: rows half, whole; columns none, whole, a quarter.
    got = sounding_maps.box_map(
        jnp.array([[0.5, 1.0, 2.0, 2.25], [0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 1.0, 1.0]]), height=2, width=3
    )
    np.testing.assert_allclose(got[0], [[0, 0.5, 0.125], [0, 1.0, 0.25]])
    np.testing.assert_array_equal(got[1:], 0.0)
    each = jax.vmap(lambda box: sounding_maps.box_map(box, height=4, width=4))(
        jnp.array([[1.0, 1.0, 3.0, 3.0]])
    )
    assert each.sum() == 4


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"features \(8, 3, 2, 5\) must be .* audio \(8, 4\)"):
        contrast(FEATURES, AUDIO[:, :4])
    with pytest.raises(ValueError, match="H, W > 0"):
        contrast(FEATURES[:, :0], AUDIO)
    with pytest.raises(ValueError, match=r"maps \(1, 2, 2\) and targets \(1, 2, 3\)"):
        sounding_maps.pixel_cross_entropy(jnp.ones((1, 2, 2)), jnp.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"boxes \(3,\) must be"):
        sounding_maps.box_map(jnp.ones(3), height=2, width=2)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        sounding_maps.audio_visual_map(FEATURES, AUDIO, temperature=0)
