import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import cross_entropy
from jaxlab.distillation import noise_mask
from tests.compiled import compiled_room
from tests.distillation.conftest import DATA

noise_mask = compiled_room(noise_mask)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "noise_mask.npz"))


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_bases_match_the_authors_code(golden, close_to_golden, name):
    base, head = golden[f"in_base_{name}"], golden[f"in_head_{name}_out"]
    close_to_golden(noise_mask.mix_base(base, head), golden[f"out_new_{name}"])
    close_to_golden(noise_mask.update_base(base, head), golden[f"out_base_{name}"])


def test_masks_and_densities_match_the_authors_code(golden, close_to_golden):
    rendered = noise_mask.render_mask(golden["in_mask_sample"], size=16, kernel=5, sigma=2.0)
    close_to_golden(rendered[..., 0], golden["out_mask_in"][:, 0])
    log_prob = noise_mask.beta_log_prob(
        golden["in_mask_sample"], golden["out_new_alpha"], golden["out_new_beta"]
    )
    close_to_golden(log_prob, golden["out_logp"])


def test_the_released_loss_and_its_gradients_match_the_authors_code(golden, close_to_golden):
    def loss(log_alpha, log_beta, weights):
        mask = noise_mask.render_mask(golden["in_mask_sample"], size=16, kernel=5, sigma=2.0)
        image = golden["in_image"] * jnp.moveaxis(mask, -1, 1)
        logits = image.reshape(5, -1) @ weights
        each = cross_entropy(logits, golden["in_labels"])
        log_prob = noise_mask.beta_log_prob(golden["in_mask_sample"], log_alpha, log_beta)
        return noise_mask.released_mask_loss(log_prob, each), (logits, each.mean())

    arguments = golden["out_new_alpha"], golden["out_new_beta"], golden["in_W"]
    (value, (logits, mean)), grads = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*arguments)
    close_to_golden(logits, golden["out_output"])
    close_to_golden(value, golden["out_loss"])
    close_to_golden(mean, golden["out_ce"])
    for got, name in zip(grads, ("grad_new_alpha", "grad_new_beta", "grad_W")):
        close_to_golden(got, golden[name], tolerance=2e-5)


def test_bases_by_hand():
    base, head = jnp.array([1.0, 2.0]), jnp.array([[3.0, 0.0], [5.0, 4.0]])
    np.testing.assert_allclose(
        noise_mask.mix_base(base, head), [[1.2, 1.8], [1.4, 2.2]], rtol=1e-6
    )  # 0.9 base + 0.1 head
    np.testing.assert_allclose(
        noise_mask.update_base(base, head), [1.03, 2.0], rtol=1e-6
    )  # 0.99 base + 0.01 (4, 2)
    only_first = noise_mask.update_base(base, head.at[1].set(jnp.nan), where=jnp.array([1, 0]))
    np.testing.assert_allclose(only_first, [1.02, 1.98], rtol=1e-6)
    np.testing.assert_array_equal(noise_mask.update_base(base, head, where=jnp.zeros(2)), base)


def test_the_base_follows_the_heads_without_a_gradient():
    gradient = jax.grad(lambda h: noise_mask.update_base(jnp.zeros(2), h).sum())(jnp.ones((3, 2)))
    assert np.abs(gradient).max() == 0
    gradient = jax.grad(lambda h: noise_mask.mix_base(jnp.zeros(2), h).sum())(jnp.ones((3, 2)))
    np.testing.assert_allclose(gradient, 0.1, rtol=1e-5)


def test_the_density_integrates_to_one_and_is_that_of_scipy():
    from scipy.stats import beta

    grid = (np.arange(2000) + 0.5) / 2000
    for a, b in ((2.0, 3.0), (0.7, 5.0), (40.0, 1.0)):
        got = noise_mask.beta_log_prob(
            grid.astype(np.float32), jnp.full(2000, np.log(a)), jnp.full(2000, np.log(b))
        )
        np.testing.assert_allclose(got, beta.logpdf(grid, a, b), rtol=1e-3, atol=1e-3)
        assert abs(np.exp(got).mean() - 1) < 0.02


@pytest.mark.parametrize("mask", [0.0, 1.0])
@pytest.mark.parametrize("size", [-1e4, 0.3, 1e4])
def test_the_density_is_finite_at_the_ends(mask, size):
    density = lambda a, b: noise_mask.beta_log_prob(jnp.array([mask]), a, b).sum()
    value, grads = jax.value_and_grad(density, argnums=(0, 1))(jnp.array([size]), jnp.array([0.5]))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


def test_the_gradient_of_the_density_agrees_with_finite_differences():
    with jax.enable_x64(True):
        mask, point, step = jnp.array([0.3, 0.9]), jnp.array([0.4, -0.8]), 1e-5
        loss = lambda a: noise_mask.beta_log_prob(mask, a, jnp.array([0.1, 1.2])).sum()
        gradient = jax.grad(loss)(point)
        numeric = [(loss(point + d) - loss(point - d)) / (2 * step) for d in step * jnp.eye(2)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.4, 0.7), (6.0, 2.0), (0.2, 9.0)])
def test_samples_follow_their_distribution(alpha, beta):
    from scipy import stats

    concentrations = (jnp.full(4000, np.log(x), jnp.float32) for x in (alpha, beta))
    drawn = np.asarray(noise_mask.sample_mask(jax.random.key(3), *concentrations))
    assert stats.kstest(drawn, stats.beta(alpha, beta).cdf).pvalue > 1e-3


def test_samples_of_extreme_concentrations_are_in_range_and_pass_no_gradient():
    sizes = jnp.array([-1e4, 1e4, 1e4, -1e4])
    total = lambda x: noise_mask.sample_mask(jax.random.key(0), x, x[::-1]).sum()
    drawn = noise_mask.sample_mask(jax.random.key(0), sizes, sizes[::-1])
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert np.abs(jax.grad(total)(sizes)).max() == 0


def test_a_mask_without_blur_is_made_of_blocks():
    got = noise_mask.render_mask(jnp.array([[1.0, 2.0, 3.0, 4.0]]), size=6, kernel=1)[0, ..., 0]
    np.testing.assert_allclose(got, np.kron([[1.0, 2.0], [3.0, 4.0]], np.ones((3, 3))), rtol=1e-6)


def test_blur_keeps_a_constant_and_smooths_an_edge():
    np.testing.assert_allclose(
        noise_mask.render_mask(jnp.full((1, 4), 0.3), size=8, kernel=5, sigma=2.0), 0.3, rtol=1e-6
    )
    edge = noise_mask.render_mask(jnp.array([[0.0, 1.0, 0.0, 1.0]]), size=8, kernel=3, sigma=1.0)[0, 4, :, 0]
    # exp(-1/2) / (1 + 2 exp(-1/2)) = 0.274069 of the neighbour on the other side.
    np.testing.assert_allclose(edge[2:6], [0.0, 0.274069, 0.725931, 1.0], rtol=1e-5, atol=1e-7)


def test_the_released_factor_scales_and_turns_the_classifiers_gradient():
    each = jnp.array([1.0, 3.0])
    gradient = lambda log_prob: jax.grad(lambda ce: noise_mask.released_mask_loss(log_prob, ce))(each)
    # Four densities of 1: log 4; of exp(-3): log 4 - 3 < 0, ascent. Each image has half of the mean.
    np.testing.assert_allclose(gradient(jnp.zeros((2, 4))), np.log(4) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient(jnp.full((2, 4), -3.0)), (np.log(4) - 3) / 2, rtol=1e-6)


def test_reinforce_adds_the_cells_and_stops_at_the_reward():
    log_prob, reward = jnp.array([[0.5, 1.0], [2.0, -1.0]]), jnp.array([-1.0, -4.0])
    loss = lambda p, r, b: noise_mask.reinforce_mask_loss(p, r, baseline=b).sum()
    # Advantages 1.5 and -1.5, sums 1.5 and 1: -(1.5 * 1.5) and +1.5.
    np.testing.assert_allclose(
        noise_mask.reinforce_mask_loss(log_prob, reward, baseline=-2.5), [-2.25, 1.5], rtol=1e-6
    )
    ours, of_reward, of_baseline = jax.grad(loss, argnums=(0, 1, 2))(log_prob, reward, -2.5)
    np.testing.assert_allclose(ours, [[-1.5, -1.5], [1.5, 1.5]], rtol=1e-6)
    assert np.abs(of_reward).max() == 0
    assert of_baseline == 0


def test_reinforce_is_the_policy_gradient_and_the_released_loss_is_not():
    """The expected reward E[m] of one Beta(a, 1) cell is a / (a + 1), so d/d log a = a / (a + 1)^2 = 2 / 9 at a = 2."""
    log_alpha, log_beta = jnp.full((40_000, 1), np.log(2.0), jnp.float32), jnp.zeros((40_000, 1))
    mask = noise_mask.sample_mask(jax.random.key(1), log_alpha, log_beta)

    def estimate(loss):
        return -jax.grad(lambda x: loss(noise_mask.beta_log_prob(mask, log_alpha + x, log_beta)))(
            jnp.float32(0)
        )

    ours = estimate(
        lambda log_prob: noise_mask.reinforce_mask_loss(log_prob, mask[:, 0], baseline=2 / 3).mean()
    )
    theirs = estimate(lambda log_prob: noise_mask.released_mask_loss(log_prob, -mask[:, 0]))
    np.testing.assert_allclose(ours, 2 / 9, atol=0.01)
    assert abs(theirs - 2 / 9) > 0.1


@pytest.mark.parametrize("loss", [noise_mask.released_mask_loss, noise_mask.reinforce_mask_loss])
def test_images_that_do_not_count_are_as_if_they_were_not_there(loss):
    rng = np.random.default_rng(0)
    log_prob, other = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    where = np.array([1, 0, 1, 0])
    spoiled = np.where(where[:, None], log_prob, np.nan), np.where(where, other, np.nan)
    total = lambda p, r, w: loss(p, r, where=w).sum()
    got = jax.value_and_grad(total)(*map(jnp.asarray, spoiled), where)
    kept = where.astype(bool)
    expected = jax.value_and_grad(total)(jnp.asarray(log_prob[kept]), other[kept], None)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(got[1][kept], expected[1], rtol=1e-5)
    assert np.abs(got[1][~kept]).max() == 0
    assert loss(log_prob, other, where=np.zeros(4)).sum() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: noise_mask.mix_base(x[0], x[0]), r"head must be \[B, G\], got shape \(4,\)"),
        (lambda x: noise_mask.mix_base(x[0, :3], x), r"base \(3,\) must broadcast to the head \(2, 4\)"),
        (lambda x: noise_mask.update_base(x[0], x, decay=1.5), r"decay must be in \[0, 1\], got 1.5"),
        (lambda x: noise_mask.beta_log_prob(x, x, x[0]), "must have the same shape, got"),
        (lambda x: noise_mask.sample_mask(jax.random.key(0), x, x[0]), "must have the same shape"),
        (lambda x: noise_mask.sample_mask(jax.random.key(0), x, x, tries=0), "tries be at least 1, got 0"),
        (
            lambda x: noise_mask.render_mask(x[:, :3], size=8),
            r"mask must be \[B, g \* g\], got shape \(2, 3\)",
        ),
        (lambda x: noise_mask.render_mask(x, size=8, kernel=4), "the kernel must be odd and at most 15"),
        (
            lambda x: noise_mask.released_mask_loss(x, x[0]),
            r"log_prob \(2, 4\) must be \[B, G\] and cross_entropy \(4,\)",
        ),
        (lambda x: noise_mask.reinforce_mask_loss(x, x[:, 0], baseline=x[0]), "baseline"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 4)))
