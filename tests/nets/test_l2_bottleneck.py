import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nets import L2BottleneckHead

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "random_teacher.npz"


@pytest.fixture(scope="module")
def golden():
    """Parameters and output of the authors' head, in our names."""
    stored = dict(np.load(GOLDEN))
    of = lambda name: stored[f"in_head_{name}"].T
    dense = lambda name: {"kernel": of(f"{name}_weight"), "bias": of(f"{name}_bias")}
    params = {
        "Dense_0": dense("mlp_layer0_lin"),
        "Dense_1": dense("mlp_layer1_lin"),
        "bottleneck": dense("last_layer_lin1"),
        "directions": of("last_layer_lin2_weight"),
    }
    return stored["in_x"], {"params": params}, stored["out_logits"]


def head(**options):
    return L2BottleneckHead(features=(8, 8), bottleneck=4, num_outputs=12, **options)


def test_without_weight_norm_it_is_the_released_head(golden):
    x, params, expected = golden
    np.testing.assert_allclose(head(weight_norm=False).apply(params, x), expected, rtol=1e-5, atol=1e-6)


def test_weight_norm_makes_every_output_a_cosine(golden):
    x, params, released = golden
    logits = head().apply(params, x)
    lengths = np.linalg.norm(params["params"]["directions"], axis=0)
    np.testing.assert_allclose(logits, released / lengths, rtol=1e-5, atol=1e-6)
    assert np.abs(logits).max() <= 1 + 1e-6
    assert np.abs(logits - released).max() > 0.1  # the paper's head and the released one differ


def test_the_scale_of_a_bottleneck_does_not_matter(golden):
    x, params, _ = golden
    longer = jax.tree.map(jnp.asarray, params)
    longer["params"]["bottleneck"] = jax.tree.map(lambda w: 7.0 * w, longer["params"]["bottleneck"])
    np.testing.assert_allclose(head().apply(longer, x), head().apply(params, x), rtol=1e-4, atol=1e-6)


def test_a_bottleneck_of_zero_gives_zeros_and_no_nan():
    x = jnp.zeros((2, 5))
    params = head().init(jax.random.key(0), x)
    gradient = jax.grad(lambda p: head().apply(p, x).sum())(params)
    assert np.abs(head().apply(params, x)).max() == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_features_have_two_axes():
    with pytest.raises(ValueError, match=r"needs features \[B, F\], got shape \(2, 4, 4, 1\)"):
        head().init(jax.random.key(0), jnp.zeros((2, 4, 4, 1)))
    with pytest.raises(
        ValueError, match="^bottleneck and num_outputs must be a list of whole numbers of at least 1"
    ):
        head().clone(bottleneck=0).init(jax.random.key(0), jnp.zeros((2, 4)))
