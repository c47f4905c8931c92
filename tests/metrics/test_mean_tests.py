"""Tests of means, ranks, equivalence and resampling: scipy's and the oracle's numbers, masks, error rates, extremes."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxlab import metrics

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
TRIAL, MARKS, GRADES = (
    dict(np.load(FOLDER / f"{name}.npz"))
    for name in ("synthetic_video_study", "scale_feedback", "mooc_graders")
)
RNG = np.random.default_rng(0)
STUDIES, SIZE = 5, 50
# Eighths, whose sums and differences are exact: ties are ties in float32, too.
EIGHTHS = RNG.normal(size=(2, STUDIES, SIZE), scale=8).round() / 8
X = EIGHTHS[0]
GROUP = RNG.integers(0, 3, X.shape).astype(np.int32)
Y = X + 0.5 * (GROUP == 1) + EIGHTHS[1]
WHERE = RNG.random(X.shape) < 0.8
# The trial: group 1 is the treatment.
BEFORE = np.float32(np.concatenate([TRIAL["in_pre_control"], TRIAL["in_pre_treat"]]))
AFTER = np.float32(np.concatenate([TRIAL["in_post_control"], TRIAL["in_post_treat"]]))
ARM = np.repeat([0, 1], [44, 39]).astype(np.int32)
GAIN = AFTER - BEFORE


def _all(x, y, group, where):
    """Every test of one study; the third group is in neither of the two."""
    two = jnp.where(group < 2, group, -1)
    return {
        "paired": metrics.paired_t_test(x, y, where=where),
        "pooled": metrics.t_test(y, two, equal_variances=True, where=where),
        "welch": metrics.t_test(y, two, where=where),
        "anova": metrics.anova(y, group, num_groups=4, where=where),
        "regression": metrics.linear_regression(jnp.stack([x, group * 1.0], 1), y, where=where),
        "mann_whitney": metrics.mann_whitney(y, two, where=where),
        "signed_rank": metrics.signed_rank_test(x, y, where=where),
    }


@pytest.fixture(scope="module")
def mapped():
    """Of all studies side by side, compiled, with NaN behind the mask."""
    spoil = lambda a: np.where(WHERE, a, np.nan).astype(np.float32)
    return jax.jit(jax.vmap(_all))(spoil(X), spoil(Y), GROUP, WHERE)


@pytest.mark.parametrize("study", range(STUDIES))
def test_the_numbers_of_scipy_on_data_with_ties_and_gaps(study, mapped):
    x, y, group = (a[study][WHERE[study]] for a in (X, Y, GROUP))
    got = jax.tree.map(lambda leaf: leaf[study], mapped)
    near = functools.partial(np.testing.assert_allclose, rtol=1e-4)
    sides = [y[group == g] for g in range(3)]
    for name, expected in {
        "paired": scipy.stats.ttest_rel(x, y),
        "pooled": scipy.stats.ttest_ind(sides[1], sides[0]),
        "welch": scipy.stats.ttest_ind(sides[1], sides[0], equal_var=False),
    }.items():
        test = got[name]
        near([test.statistic, test.p_value, test.df], [expected.statistic, expected.pvalue, expected.df])
        near(metrics.mean_interval(test), expected.confidence_interval(0.95))
    expected = scipy.stats.f_oneway(*sides)
    near([got["anova"].statistic, got["anova"].p_value], expected, rtol=1e-3)
    expected = scipy.stats.mannwhitneyu(sides[1], sides[0], method="asymptotic")
    near(got["mann_whitney"], [expected.statistic, expected.pvalue])
    expected = scipy.stats.wilcoxon(x, y, method="approx")
    near(got["signed_rank"], [expected.statistic, expected.pvalue])
    design = np.stack([np.ones_like(x), x, group], axis=1)
    beta, residuals = np.linalg.lstsq(design, y)[:2]
    variance = residuals[0] / (len(y) - 3) * np.diag(np.linalg.inv(design.T @ design))
    near(got["regression"].estimate, beta, atol=1e-5)
    near(got["regression"].standard_error, np.sqrt(variance))
    near(
        got["regression"].p_value,
        2 * scipy.stats.t.sf(np.abs(beta / np.sqrt(variance)), len(y) - 3),
        rtol=1e-3,
    )


@jax.jit
def _trial(before, after, arm):
    gain = after - before
    welch, pooled = metrics.t_test(gain, arm), metrics.t_test(gain, arm, equal_variances=True)
    both = {"unequal": welch, "pooled": pooled}
    return {
        "paired": [metrics.paired_t_test(after, before, where=arm == i) for i in (0, 1)],
        **both,
        "interval": metrics.mean_interval(welch),
        "mann_whitney": metrics.mann_whitney(gain, arm),
        "d": metrics.cohen_d(gain, arm),
        "g": metrics.cohen_d(gain, arm, corrected=True),
        "tost": {
            f"{name}_{bound}": metrics.equivalence_p_value(test, bound)
            for name, test in both.items()
            for bound in (0.5, 1.0)
        },
        "ancova": metrics.ancova(after, before, arm),
    }


def test_the_trial():
    near = functools.partial(np.testing.assert_allclose, rtol=2e-4)
    numbers = lambda test: [test.statistic, test.p_value, test.df]
    got = jax.tree.map(np.asarray, _trial(BEFORE, AFTER, ARM))
    for name, test in zip(("control", "treat"), got["paired"]):
        near(numbers(test), TRIAL[f"out_paired_{name}"], rtol=2e-3)
    near(numbers(got["pooled"]), TRIAL["out_gain_student"])
    near(numbers(got["unequal"]), TRIAL["out_gain_welch"])
    near(got["interval"], TRIAL["out_gain_welch_ci95"])
    near(got["mann_whitney"], TRIAL["out_gain_mannwhitney"])
    near([got["d"], got["g"]], [TRIAL["out_cohen_d"], TRIAL["out_hedges_g"]])
    for name, p in got["tost"].items():
        expected, (kind, bound) = TRIAL[f"out_tost_{name}"], name.split("_")
        near(p, expected[0])
        t = [(got[kind].estimate + x) / got[kind].standard_error for x in (float(bound), -float(bound))]
        near([*t, got[kind].df], expected[[1, 4, 3]])  # of its two one-sided tests
        near(p, max(expected[[2, 5]]))
    near(got["ancova"].estimate, TRIAL["out_ancova_coef"], atol=1e-5)
    near(got["ancova"].standard_error, TRIAL["out_ancova_se"])
    near(got["ancova"].p_value, TRIAL["out_ancova_p"], rtol=2e-3)
    # Levene's test is an analysis of variance of distances from the medians.
    away = np.abs(GAIN - np.where(ARM == 1, np.median(GAIN[ARM == 1]), np.median(GAIN[ARM == 0])))
    levene = metrics.anova(away.astype(np.float32), ARM, num_groups=2)
    near([levene.statistic, levene.p_value], TRIAL["out_levene"], rtol=1e-3)
    near(metrics.two_group_power(0.5, 44, 39), TRIAL["out_power_d05_n44_39"], rtol=1e-6)
    near(metrics.detectable_difference(44, 39), TRIAL["out_mde_power80"], rtol=1e-4)
    near(metrics.holm(TRIAL["in_p"]), TRIAL["out_p_holm"])
    near(metrics.benjamini_hochberg(TRIAL["in_p"]), TRIAL["out_p_bh"])


@jax.jit
def _pairs(x, y):
    test = metrics.paired_t_test(x, y)
    both, side = jnp.concatenate([x, y]), jnp.repeat(jnp.array([1, 0]), len(x))
    t = jnp.stack([test.statistic, test.p_value])
    return t, metrics.signed_rank_test(x, y), metrics.mann_whitney(both, side)


def test_tests_of_marks_and_grades():
    near = functools.partial(np.testing.assert_allclose, rtol=2e-3)
    t, signed, two = _pairs(*(np.float32(MARKS[f"in_mark_{side}"]) for side in ("real", "syn")))
    near(t, MARKS["out_ttest_rel"])
    near(two, MARKS["out_mannwhitney"])
    near(signed[0], MARKS["out_wilcoxon"][0])
    for grader in ("answers", "answers_rubric", "llm_rubric", "peer"):
        grades = GRADES["out_peer_median"] if grader == "peer" else GRADES[f"in_{grader}"]
        t, signed, _ = _pairs(np.float32(grades), np.float32(GRADES["in_instructor"]))
        near(t, GRADES[f"out_{grader}_paired_t"])
        near(signed, GRADES[f"out_{grader}_wilcoxon"])


def test_error_rates_of_the_kit():
    """2,000 trials without an effect: every test errs in 5 % of them, that of equivalence at its bound."""

    def study(key):
        noise, again = jax.random.split(key)
        x, error = jax.random.normal(noise, (2, 40))
        group = jnp.arange(40) % 2
        y = 0.6 * x + 0.8 * error
        welch = metrics.t_test(y, group)
        return {
            "welch": welch.p_value,
            "pooled": metrics.t_test(y, group, equal_variances=True).p_value,
            "ancova": metrics.ancova(y, x, group).p_value[2],
            "mann_whitney": metrics.mann_whitney(y, group)[1],
            "permutation": metrics.permutation_p_value(again, y, group, resamples=99),
            "at the bound": metrics.equivalence_p_value(metrics.t_test(y + 2.0 * group, group), 2.0),
        }

    p = jax.jit(jax.vmap(study))(jax.random.split(jax.random.key(0), 2000))
    for name, values in p.items():
        assert 0.035 < np.mean(values <= 0.05) < 0.065, name


def test_permutation_and_bootstrap_by_their_exact_values():
    # Three against three: 2 of the 20 ways to divide them are as far apart.
    values, group = np.float32([1, 2, 3, 10, 11, 12]), np.array([0, 0, 0, 1, 1, 1], np.int32)
    p = metrics.permutation_p_value(jax.random.key(0), values, group, resamples=4000)
    np.testing.assert_allclose(p, 0.1, atol=0.02)
    wide = np.concatenate([values, [np.nan, 5.0, np.nan]]).astype(np.float32)
    groups = np.concatenate([group, [1, -1, 0]]).astype(np.int32)
    p = metrics.permutation_p_value(jax.random.key(0), wide, groups, resamples=4000, where=np.isfinite(wide))
    np.testing.assert_allclose(p, 0.1, atol=0.02)
    spread = lambda v, g, where: jnp.max(jnp.where(where & (g == 1), v, -99)) - 12.0
    assert metrics.permutation_p_value(jax.random.key(0), values, group, statistic=spread, resamples=99) == 1
    assert metrics.permutation_p_value(jax.random.key(0), np.ones(6, np.float32), group, resamples=99) == 1

    mean = lambda x, where: jnp.sum(jnp.where(where, x, 0)) / jnp.sum(where)
    wide = np.concatenate([X[0], [np.nan] * 10]).astype(np.float32)
    draws = metrics.bootstrap(jax.random.key(1), mean, wide, resamples=4000, where=np.isfinite(wide))
    np.testing.assert_allclose(draws.mean(), X[0].mean(), atol=0.02)
    np.testing.assert_allclose(draws.std(), X[0].std() / np.sqrt(SIZE), rtol=0.05)
    # The oracle's interval of the mean difference of a grader.
    gap = np.float32(GRADES["in_llm_rubric"] - GRADES["in_instructor"])
    ends = metrics.percentile_interval(metrics.bootstrap(jax.random.key(2), mean, gap, resamples=2000))
    np.testing.assert_allclose(ends, GRADES["out_llm_rubric_boot_mean_diff_ci"], atol=0.05)
    # Clusters are drawn whole: two of them, all ones or all zeros.
    table = np.array([[1, 1, 0], [0, 0, 0]], np.float32)
    inside = np.array([[1, 1, 0], [1, 1, 1]], bool)
    cluster = lambda x, inside, where: jnp.sum(jnp.where(inside, x, 0)) / jnp.sum(inside)
    draws = metrics.bootstrap(jax.random.key(3), cluster, table, inside, resamples=200)
    np.testing.assert_allclose(sorted(set(np.asarray(draws).round(3).tolist())), [0, 0.4, 1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 3, 3, 3], (0, 1)),  # nothing scatters, nothing differs
        ([3, 3, 5, 5], (np.inf, 0)),  # nothing scatters, something differs
        ([3, 3, 3, np.nan], (np.nan, np.nan)),
    ],
)
def test_what_does_not_scatter(values, expected):
    group = np.array([0, 0, 1, 1], np.int32)
    values = np.float32(values)
    tests = [metrics.t_test(values, group, equal_variances=equal) for equal in (False, True)]
    tests += [metrics.paired_t_test(values[2:], values[:2])]
    for test in tests:
        np.testing.assert_array_equal([test.statistic, test.p_value], expected)
    test = metrics.anova(values, group, num_groups=2)
    np.testing.assert_array_equal([test.statistic, test.p_value], expected)
    if not np.isnan(expected[0]):
        assert metrics.mann_whitney(np.full(4, 3.0), group)[1] == 1
        assert metrics.signed_rank_test(values, values)[1] == 1
        assert metrics.cohen_d(np.full(4, 3.0), group) == 0


def test_too_few_show_nothing():
    values, group = np.float32([1, 2, 3, 4]), np.array([0, 0, 1, 1], np.int32)
    for where in ([0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]):
        where = np.array(where, bool)
        for test in (
            metrics.t_test(values, group, where=where),
            metrics.t_test(values, group, equal_variances=True, where=where),
        ):
            assert test.p_value == 1
            assert metrics.equivalence_p_value(test, 0.5) == 1
            assert np.isinf(metrics.mean_interval(test)).all()
        assert metrics.anova(values, group, num_groups=2, where=where).p_value == 1
        assert metrics.mann_whitney(values, group, where=where)[1] == 1
    for count in (0, 1):
        test = metrics.paired_t_test(values[:count], values[:count])
        assert (test.statistic, test.p_value) == (0, 1)
        assert metrics.signed_rank_test(values[:count], values[:count])[1] == 1
    nobody, key = np.zeros(4, bool), jax.random.key(0)
    assert metrics.permutation_p_value(key, values, group, resamples=9, where=nobody) == 1
    total = lambda x, where: jnp.sum(jnp.where(where, x, 0))
    assert metrics.bootstrap(key, total, values, resamples=2, where=nobody).tolist() == [0, 0]
    assert metrics.two_group_power(0.5, 1, 1) == 0
    assert metrics.detectable_difference(0, 50) == np.inf
    # A covariate that is constant, and more coefficients than rows.
    fit = metrics.ancova(np.float32([1, 2, 5, 6]), np.full(4, 7.0, np.float32), group)
    np.testing.assert_allclose(fit.estimate[1:], [0, 4], atol=1e-5)
    assert fit.p_value[1] == 1
    fit = metrics.linear_regression(np.eye(3, 5, dtype=np.float32), values[:3])
    assert np.isfinite(fit.estimate).all()
    np.testing.assert_array_equal(fit.p_value, np.ones(6))


def test_equivalence_is_an_interval_inside_the_bounds():
    for study in range(STUDIES):
        test = metrics.t_test(Y[study], np.where(GROUP[study] < 2, GROUP[study], -1))
        low, high = metrics.mean_interval(test, confidence=0.9)
        bound = max(abs(low), abs(high))
        np.testing.assert_allclose(metrics.equivalence_p_value(test, bound), 0.05, rtol=1e-3)


def test_unknown_degrees_of_freedom_give_no_probability():
    one, nan = jnp.array(1.0), jnp.array(jnp.nan)
    for test in (
        metrics.mean_test(one, one, nan),
        metrics.mean_test(nan, one, one),
        metrics.mean_test(one, nan, one),
    ):
        assert jnp.isnan(test.p_value)
        assert jnp.isnan(metrics.equivalence_p_value(test, 2.0))
        assert jnp.isnan(jnp.stack(metrics.mean_interval(test))).all()


def test_what_changes_nothing():
    """Place, scale and order of the values; which group is called 1 turns the sign."""
    group, order = GROUP[0] % 2, RNG.permutation(SIZE)
    for options in ({}, {"equal_variances": True}):
        test = metrics.t_test(Y[0], group, **options)
        for other in (
            metrics.t_test(3 * Y[0] + 50, group, **options),
            metrics.t_test(Y[0][order], group[order], **options),
        ):
            np.testing.assert_allclose(
                [other.statistic, other.p_value, other.df], [test.statistic, test.p_value, test.df], rtol=1e-3
            )
        np.testing.assert_allclose(
            metrics.t_test(Y[0], 1 - group, **options).statistic, -test.statistic, rtol=1e-4
        )
    two = metrics.anova(Y[0], group, num_groups=2)
    np.testing.assert_allclose(
        two.statistic, metrics.t_test(Y[0], group, equal_variances=True).statistic ** 2, rtol=1e-4
    )
    assert metrics.variance_test(2.0, 0.0, 1, 5).p_value == 0
    assert metrics.mean_test(1.0, 0.5, 9).statistic == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.t_test(X[0], GROUP[0]), r"group must be in \[0, 2\), or negative for a value in no group"),
        (lambda: metrics.t_test(X[0], GROUP), r"values \(50,\) and group \(5, 50\) must both be \[N\]"),
        (lambda: metrics.t_test(X[0], X[0]), "group must be integers, indices of groups"),
        (lambda: metrics.anova(X[0], GROUP[0], num_groups=0), "num_groups must be at least 1, got 0"),
        (lambda: metrics.paired_t_test(X, X), r"x \(5, 50\) and y \(5, 50\) must both be \[N\]"),
        (lambda: metrics.ancova(X[0], X[0], GROUP[0, :3]), r"outcome, covariate and group must all be \[N\]"),
        (lambda: metrics.linear_regression(X[0], Y[0]), r"features \(50,\) must be \[N, F\]"),
        (lambda: metrics.equivalence_p_value(metrics.mean_test(0.0, 1.0, 3), -1.0), "bound must be at least 0"),
        (lambda: metrics.mean_interval(metrics.mean_test(0.0, 1.0, 3), confidence=1.5), "confidence must be in"),
        (lambda: metrics.signed_rank_test(X[0], Y[0, :2]), r"x \(50,\) and y \(2,\) must both be \[N\]"),
        (lambda: metrics.permutation_p_value(jax.random.key(0), X[0], GROUP[0] % 2, resamples=0), "resamples must be"),
        (lambda: metrics.bootstrap(jax.random.key(0), jnp.mean, X[0], X[0, :2]), "arrays must share N of at least 1"),
        (lambda: metrics.bootstrap(jax.random.key(0), jnp.mean), "arrays must share N of at least 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
