"""Agreement and correlations of ranks: scikit-learn's and scipy's numbers on data with ties and gaps, and by hand."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from jaxlab.metrics import (
    ICC_KINDS,
    average_ranks,
    cohen_kappa,
    confusion_matrix,
    correlation_interval,
    correlation_p_value,
    cronbach_alpha,
    fleiss_kappa,
    intraclass_correlation,
    kendall_tau,
    krippendorff_alpha,
    roc_auc,
    spearman,
)

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
GRADES = dict(np.load(FOLDER / "mooc_graders.npz", allow_pickle=False))
TRIAL = dict(np.load(FOLDER / "synthetic_video_study.npz"))
MARKS = dict(np.load(FOLDER / "scale_feedback.npz"))
RNG = np.random.default_rng(0)
STUDIES, SIZE = 6, 40
X = RNG.integers(0, 5, (STUDIES, SIZE))
Y = np.clip(X + RNG.integers(-1, 2, X.shape), 0, 4)
WHERE = RNG.random(X.shape) < 0.7
LABELS = (RNG.random(X.shape) + X / 5) > 0.9


def _all(x, y, labels, where):
    """Every measure of one study."""
    kappas = [
        cohen_kappa(x, y, num_classes=6, weights=w, where=where) for w in ("none", "linear", "quadratic")
    ]
    return {
        "kappa": jnp.stack(kappas),
        "confusion": confusion_matrix(x, y, num_classes=6, where=where),
        "ranks": average_ranks(x * 1.5, where=where),
        "spearman": spearman(x * 1.5, y * 1.0, where=where),
        "kendall": kendall_tau(x * 1.5, y * 1.0, where=where),
        "auc": roc_auc(x * 1.5, labels, where=where),
    }


@jax.jit
def every_icc(scores, where=None):
    return jnp.stack([intraclass_correlation(scores, kind=kind, where=where) for kind in ICC_KINDS])


@pytest.fixture(scope="module")
def mapped():
    """Of all studies side by side, compiled: with a mask, and spoiled behind it."""
    return jax.jit(jax.vmap(_all))(X.astype(np.int32), Y.astype(np.int32), LABELS, WHERE)


@pytest.mark.parametrize("study", range(STUDIES))
def test_the_numbers_of_scikit_learn_and_scipy(study, mapped):
    x, y, labels = (a[study][WHERE[study]] for a in (X, Y, LABELS))
    got = jax.tree.map(lambda leaf: leaf[study], mapped)
    named = {"labels": list(range(5))}
    expected = [
        sklearn.metrics.cohen_kappa_score(x, y, weights=w, **named) for w in (None, "linear", "quadratic")
    ]
    np.testing.assert_allclose(got["kappa"], expected, rtol=1e-5)
    np.testing.assert_array_equal(
        got["confusion"], sklearn.metrics.confusion_matrix(x, y, labels=list(range(6)))
    )
    np.testing.assert_allclose(got["ranks"][WHERE[study]], scipy.stats.rankdata(x))
    assert not np.any(got["ranks"][~WHERE[study]])
    np.testing.assert_allclose(got["spearman"], scipy.stats.spearmanr(x, y).statistic, rtol=1e-5)
    np.testing.assert_allclose(got["kendall"], scipy.stats.kendalltau(x, y).statistic, rtol=1e-5)
    np.testing.assert_allclose(got["auc"], sklearn.metrics.roc_auc_score(labels, x), rtol=1e-5)


@jax.jit
def _grader(grades, reference):
    halves = lambda x: jnp.round(2 * x).astype(jnp.int32)
    kappa = cohen_kappa(halves(grades), halves(reference), num_classes=19, weights="quadratic")
    rho = spearman(grades, reference)
    return kappa, rho, kendall_tau(grades, reference), correlation_p_value(rho, len(grades))


@pytest.mark.parametrize("grader", ["answers", "answers_rubric", "llm_rubric", "peer"])
def test_graders_of_a_course(grader):
    reference = np.float32(GRADES["in_instructor"])
    grades = GRADES["out_peer_median"] if grader == "peer" else GRADES[f"in_{grader}"]
    grades = np.float32(grades)
    get = lambda name: GRADES[f"out_{grader}_{name}"]
    kappa, rho, tau, p = _grader(grades, reference)
    np.testing.assert_allclose(kappa, get("qwk"), rtol=1e-4)
    np.testing.assert_allclose(rho, get("spearman")[0], rtol=1e-5)
    np.testing.assert_allclose(p, get("spearman")[1], rtol=2e-3)
    np.testing.assert_allclose(tau, get("kendall")[0], rtol=1e-5)
    p = correlation_p_value(np.float32(get("pearson")[0]), 40)
    np.testing.assert_allclose(p, get("pearson")[1], rtol=2e-3)
    both = np.stack([reference, grades], axis=1)
    np.testing.assert_allclose(every_icc(both), get("icc"), rtol=1e-4)


def test_agreement_of_items():
    items = np.float32(TRIAL["in_likert"])
    np.testing.assert_allclose(cronbach_alpha(items), TRIAL["out_cronbach_alpha"][0], rtol=1e-5)
    # People with a missing answer are left out.
    gaps = RNG.random(items.shape) < 0.95
    spoiled = np.where(gaps, items, np.nan)
    whole = gaps.all(axis=1)
    np.testing.assert_allclose(cronbach_alpha(spoiled, where=gaps), cronbach_alpha(items[whole]), rtol=1e-5)
    np.testing.assert_allclose(every_icc(spoiled, gaps), every_icc(items[whole]), rtol=1e-4)


def test_the_correlation_of_marks():
    r, p, low, high = MARKS["out_pcc"]
    np.testing.assert_allclose(correlation_p_value(r, 40), p, rtol=1e-3)
    np.testing.assert_allclose(correlation_interval(r, 40), [low, high], rtol=1e-4)
    rho = spearman(np.float32(MARKS["in_mark_real"]), np.float32(MARKS["in_mark_syn"]))
    np.testing.assert_allclose([rho, correlation_p_value(rho, 40)], MARKS["out_spearman"], rtol=1e-4)


def test_fleiss_by_its_own_example():
    """Fleiss's table of ten subjects by fourteen raters: 0.210."""
    table = np.array([[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
                      [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]])  # fmt: skip
    ratings = np.stack([np.repeat(np.arange(5), row) for row in table]).astype(np.int32)
    np.testing.assert_allclose(fleiss_kappa(ratings, num_classes=5), 0.20993, rtol=1e-4)
    # Raters in any order; a subject with one rating says nothing; a missing rating is one that is not there.
    shuffled = np.stack([RNG.permutation(row) for row in ratings])
    alone = np.concatenate([shuffled, np.full((1, 14), -1, np.int32)])
    alone[-1, 3] = 2
    np.testing.assert_allclose(fleiss_kappa(alone, num_classes=5), 0.20993, rtol=1e-4)
    masked = np.concatenate([shuffled, RNG.integers(0, 5, (10, 3)).astype(np.int32)], axis=1)
    np.testing.assert_allclose(
        fleiss_kappa(masked, num_classes=5, where=(np.arange(17) < 14)[None]), 0.20993, rtol=1e-4
    )


def test_krippendorff_by_his_own_example():
    """Four observers of twelve units, some missing: 0.743 as categories, 0.849 as numbers."""
    table = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    ratings = np.array([[-1 if c == "." else int(c) - 1 for c in row] for row in table]).T
    assert ratings.shape == (12, 4)
    for weights, alpha in (("none", 0.743), ("quadratic", 0.849)):
        found = krippendorff_alpha(ratings, num_classes=5, weights=weights)
        np.testing.assert_allclose(found, alpha, atol=5e-4)
        masked = krippendorff_alpha(np.abs(ratings), num_classes=5, weights=weights, where=ratings >= 0)
        np.testing.assert_allclose(masked, found, rtol=1e-6)


def test_two_raters_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement 0.7, by chance 0.5.
    x = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]).astype(np.int32)
    y = np.repeat([0, 1, 0, 1], [20, 5, 10, 15]).astype(np.int32)
    np.testing.assert_allclose(cohen_kappa(x, y, num_classes=2), 0.4, rtol=1e-6)
    missing = np.concatenate([x, [0, -1]]).astype(np.int32), np.concatenate([y, [-1, 1]]).astype(np.int32)
    np.testing.assert_allclose(cohen_kappa(*missing, num_classes=2), 0.4, rtol=1e-6)


UNDEFINED = {
    "kappa of one category": functools.partial(
        cohen_kappa, np.zeros(5, int), np.zeros(5, int), num_classes=2
    ),
    "kappa of none": functools.partial(cohen_kappa, X[0], Y[0], num_classes=5, where=np.zeros(SIZE)),
    "kappa of raters without an example in common": functools.partial(
        cohen_kappa, np.array([0, 1, -1, -1]), np.array([-1, -1, 0, 1]), num_classes=2
    ),
    "kappa with one class": functools.partial(cohen_kappa, np.zeros(5, int), np.zeros(5, int), num_classes=1),
    "fleiss of one category": functools.partial(fleiss_kappa, np.ones((3, 4), int), num_classes=2),
    "fleiss of one rater": functools.partial(fleiss_kappa, X[:1].T, num_classes=5),
    "fleiss of no rater": functools.partial(fleiss_kappa, np.ones((3, 0), int), num_classes=2),
    "fleiss of missing ratings": functools.partial(fleiss_kappa, np.full((3, 4), -1), num_classes=2),
    "krippendorff of one category": functools.partial(
        krippendorff_alpha, np.ones((3, 4), int), num_classes=2
    ),
    "krippendorff of one rater": functools.partial(krippendorff_alpha, X[:1].T, num_classes=5),
    "krippendorff of missing ratings": functools.partial(
        krippendorff_alpha, np.full((3, 4), -1), num_classes=2
    ),
    "icc of no target": functools.partial(intraclass_correlation, np.ones((0, 3))),
    "icc of one rater": functools.partial(intraclass_correlation, np.arange(4.0)[:, None]),
    "icc of one target": functools.partial(intraclass_correlation, np.arange(4.0)[None]),
    "icc of equal scores": functools.partial(intraclass_correlation, np.full((4, 3), 7.0)),
    "icc without a complete row": functools.partial(
        intraclass_correlation, np.ones((3, 2)), where=np.array([[1, 0]])
    ),
    "alpha of one item": functools.partial(cronbach_alpha, np.arange(4.0)[:, None]),
    "alpha of nobody": functools.partial(cronbach_alpha, np.ones((0, 3))),
    "alpha of equal answers": functools.partial(cronbach_alpha, np.full((4, 3), 7.0)),
    "spearman of a constant": functools.partial(spearman, np.ones(4), np.arange(4.0)),
    "spearman of none": functools.partial(spearman, np.ones(0), np.ones(0)),
    "spearman of one pair": functools.partial(spearman, np.ones(1), np.ones(1)),
    "kendall of a constant": functools.partial(kendall_tau, np.arange(4.0), np.ones(4)),
    "auc of one class": functools.partial(roc_auc, np.arange(4.0), np.ones(4, bool)),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_not_defined_is_what_was_asked_for(name):
    assert np.isnan(UNDEFINED[name]())
    assert UNDEFINED[name](undefined=-7.0) == -7.0


def test_a_nan_that_counts_comes_out_and_one_that_does_not_leaves_no_trace():
    x, y = X[0] * 1.0, Y[0] * 1.0
    for measure in (spearman, kendall_tau, lambda x, y, where: roc_auc(x, y > 2, where=where)):
        spoiled = np.where(np.arange(SIZE) == 3, np.nan, x)
        without = np.arange(SIZE) != 3
        assert np.isnan(measure(spoiled, y, where=np.ones(SIZE, bool)))
        np.testing.assert_allclose(
            measure(spoiled, y, where=without),
            measure(x[without], y[without], where=np.ones(SIZE - 1, bool)),
            rtol=1e-6,
        )


def test_what_changes_nothing():
    x, y = X[1] * 1.0, Y[1] * 1.0
    order = RNG.permutation(SIZE)
    for measure in (spearman, kendall_tau):
        value = measure(x, y)
        np.testing.assert_allclose(measure(x[order], y[order]), value, rtol=1e-5)
        np.testing.assert_allclose(measure(np.exp(x), y), value, rtol=1e-5)
        np.testing.assert_allclose(measure(y, x), value, rtol=1e-5)
        np.testing.assert_allclose(measure(-x, y), -value, rtol=1e-5)
    np.testing.assert_allclose(roc_auc(-x, LABELS[1]), 1 - roc_auc(x, LABELS[1]), rtol=1e-5)
    scores = RNG.normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(every_icc(5 * scores + 100), every_icc(scores), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cohen_kappa(X[0], Y[0][:3], num_classes=5), r"x \(40,\) and y \(3,\) must both be \[N\]"),
        (lambda: cohen_kappa(X[0], Y[0], num_classes=3), r"must be in \[0, 3\), or negative for a missing rating"),
        (lambda: cohen_kappa(X[0] * 1.0, Y[0], num_classes=5), "x must be integers, categories, got float"),
        (lambda: cohen_kappa(X[0], Y[0], num_classes=0), "num_classes must be at least 1, got 0"),
        (lambda: cohen_kappa(X[0], Y[0], num_classes=5, weights="cubic"), "weights must be one of"),
        (lambda: fleiss_kappa(X[0], num_classes=5), r"ratings must be \[N, R\], got \(40,\)"),
        (lambda: intraclass_correlation(X[0] * 1.0), r"scores must be \[N, K\], got \(40,\)"),
        (lambda: intraclass_correlation(X * 1.0, kind="2,1"), "kind must be one of"),
        (lambda: cronbach_alpha(X * 1.0, where=np.ones(3)), r"where has shape \(3,\): it must have the 2 axes"),
        (lambda: spearman(X[0], Y[0][:2]), r"\(40,\) and \(2,\) must both be \[N\]"),
        (lambda: roc_auc(X[0] * 1.0, X[0]), "labels must be bool or hold 0 and 1"),
        (lambda: average_ranks(X), r"x must be \[N\], got \(6, 40\)"),
        (lambda: correlation_interval(0.5, 10, confidence=2.0), r"confidence must be in \[0, 1\], got 2.0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
