import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.ranking import (
    cascade_examination,
    click_probability,
    position_bias_examination,
    sample_cascade_clicks,
    sample_clicks,
    trust_bias_click_probability,
)

LISTS = 20_000
PROBABILITIES = jnp.array([0.9, 0.1, 0.5, 1.0])


def many(sample):
    """Mean clicks per position over many users."""
    return jax.jit(lambda key: sample(key, jnp.broadcast_to(PROBABILITIES, (LISTS, 4))).mean(0))(
        jax.random.key(0)
    )


def test_examination_is_the_measured_curve_to_the_power_of_eta():
    np.testing.assert_allclose(
        position_bias_examination(12), [0.68, 0.61, 0.48, 0.34, 0.28, 0.2, 0.11, 0.1, 0.08, 0.06, 0.06, 0.06]
    )
    # 0.1^2 = 0.01 at the eighth position; without bias all is looked at.
    np.testing.assert_allclose(position_bias_examination(8, eta=2.0)[-1], 0.01, rtol=1e-5)
    assert position_bias_examination(10, eta=0.0).tolist() == [1.0] * 10


def test_click_probability_by_hand():
    # 0.1 + 0.9 (2^r - 1) / 15.
    np.testing.assert_allclose(click_probability(jnp.arange(5)), [0.1, 0.16, 0.28, 0.52, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        click_probability(jnp.array([0, 1]), max_grade=1, noise=0.2, positive=0.6), [0.2, 0.6], rtol=1e-6
    )


def test_trust_bias_by_hand():
    # Irrelevant: 0.65, 0.325; relevant: 1 - 0.02, 1 - 0.03.
    np.testing.assert_allclose(trust_bias_click_probability(jnp.zeros(2)), [0.65, 0.325], rtol=1e-6)
    np.testing.assert_allclose(trust_bias_click_probability(jnp.ones(2)), [0.98, 0.97], rtol=1e-6)


def test_clicks_come_as_often_as_the_model_says():
    examination = position_bias_examination(4)
    clicks = many(lambda key, p: sample_clicks(key, p, examination))
    np.testing.assert_allclose(clicks, PROBABILITIES * examination, atol=0.015)


def test_inverse_propensities_undo_position_bias_but_not_trust_bias():
    examination = position_bias_examination(4)
    corrected = many(lambda key, p: sample_clicks(key, p, examination)) / examination
    np.testing.assert_allclose(corrected, PROBABILITIES, atol=0.04)
    trusting = many(lambda key, p: sample_clicks(key, trust_bias_click_probability(p), examination))
    assert np.abs(trusting / examination - PROBABILITIES).max() > 0.2


def test_the_cascade_is_examined_as_often_as_its_closed_form_says():
    options = {"after_click": 0.2, "after_skip": 0.8}
    # By hand: 1, then times 0.9 * 0.2 + 0.1 * 0.8 = 0.26, then 0.1 * 0.2 + 0.9 * 0.8 = 0.74, then 0.5.
    examination = cascade_examination(PROBABILITIES, **options)
    np.testing.assert_allclose(examination, [1.0, 0.26, 0.26 * 0.74, 0.26 * 0.74 * 0.5], rtol=1e-6)
    clicks = many(lambda key, p: sample_cascade_clicks(key, p, **options))
    np.testing.assert_allclose(clicks, PROBABILITIES * examination, atol=0.015)


def test_the_classical_cascade_has_one_click_at_most():
    p = jnp.broadcast_to(PROBABILITIES, (500, 4))
    clicks = sample_cascade_clicks(jax.random.key(0), p, after_click=0.0, after_skip=1.0)
    assert clicks.sum(-1).tolist() == [1.0] * 500


def test_documents_that_do_not_exist_are_never_clicked_and_passed_over():
    where = jnp.array([True, False, True, True])
    p = jnp.broadcast_to(PROBABILITIES, (LISTS, 4))
    cascade = jax.jit(lambda key: sample_cascade_clicks(key, p, where=where[None]))(jax.random.key(1)).mean(0)
    position = sample_clicks(jax.random.key(1), p, jnp.ones(4), where=where[None])
    assert position[:, 1].sum() == 0
    assert cascade[1] == 0
    kept = jnp.array([0, 2, 3])
    np.testing.assert_allclose(
        cascade[kept], PROBABILITIES[kept] * cascade_examination(PROBABILITIES[kept]), atol=0.015
    )
    np.testing.assert_allclose(
        cascade_examination(PROBABILITIES, where=where)[kept],
        cascade_examination(PROBABILITIES[kept]),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: position_bias_examination(0), "length is 0"),
        (lambda: position_bias_examination(3, eta=-1.0), "eta must be at least 0"),
        (lambda: click_probability(jnp.zeros(2), noise=0.5, positive=0.2), "0 <= noise <= positive <= 1"),
        (lambda: trust_bias_click_probability(jnp.zeros(2), trust=2.0), r"trust must be in \[0, 1\]"),
        (lambda: trust_bias_click_probability(jnp.float32(0)), r"must have shape \[..., L\]"),
        (lambda: sample_clicks(jax.random.key(0), jnp.zeros((2, 3)), jnp.zeros(2)), r"examination \(2,\)"),
        (
            lambda: sample_cascade_clicks(jax.random.key(0), jnp.zeros(3), after_skip=1.5),
            "after_skip must be",
        ),
        (lambda: cascade_examination(jnp.float32(0)), r"must have shape \[..., L\]"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
