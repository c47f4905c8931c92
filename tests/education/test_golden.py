"""The authors' numbers: BERTScore, the kappas of SIGHT, graders of a course, the trial."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import education
from jaxlab.metrics import average_ranks, t_test

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
TEXTS, LABELS, GRADES, TRIAL = (
    dict(np.load(FOLDER / f"{name}.npz"))
    for name in ("scale_feedback", "sight", "mooc_graders", "synthetic_video_study")
)
# As published in the repository of the paper: humans, then the model without examples.
HUMANS = [0.754, 0.910, 0.787, 0.951, 0.922, 0.743, 0.830, 0.937, 0.737]
RATER_KAPPAS = jax.jit(education.rater_kappas)
SETTINGS = ("bin_zeroshot", "bin_kshot", "bin_kshot_reasoning")


@pytest.mark.parametrize("weights", ["idf", "unit"])
def test_bert_score(weights):
    tag = "" if weights == "idf" else "_unit"
    score = jax.jit(education.bert_score)
    got = score(
        TEXTS["in_ref"], TEXTS["in_hyp"], TEXTS["in_ref_mask"], TEXTS["in_hyp_mask"],
        reference_weights=TEXTS[f"in_ref_{weights}"], candidate_weights=TEXTS[f"in_hyp_{weights}"],
    )  # fmt: skip
    for name, values in zip("PRF", got):
        np.testing.assert_allclose(values, TEXTS[f"out_{name}{tag}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_kappas_of_real_labels(setting):
    """289 comments, two people and a model, nine categories; missing labels are -1.

    Where the second person and the model miss one label each, on different comments, the authors' script counts one of
    them as a no; of two of the 36 kappas the fourth digit is another.
    """
    human1, human2, model = (LABELS[f"in_{who}"].astype(np.int32) for who in ("H1", "H2", f"M_{setting}"))
    kappas = education.RaterKappas(*RATER_KAPPAS(human1, human2, model))
    np.testing.assert_allclose(kappas.humans, LABELS["out_kappa_HH"], rtol=1e-5)
    np.testing.assert_allclose(kappas.humans, HUMANS, atol=6e-4)
    positive = ((human1 == 1) | (human2 == 1)).sum(axis=0)
    np.testing.assert_array_equal(positive, LABELS["out_human_positive_any"])
    expected = LABELS[f"out_kappa_HM_{setting}"]
    missing = [(labels < 0).sum(axis=0) for labels in (human2, model)]
    apart = (missing[0] == missing[1]) & ((human2 < 0) != (model < 0)).any(axis=0)
    assert apart.sum() == (2 if setting == "bin_kshot" else 0)
    np.testing.assert_allclose(kappas.model[~apart], expected[~apart], rtol=1e-5)
    filled = RATER_KAPPAS(human1, np.where(apart & (human2 < 0), 0, human2), model)
    np.testing.assert_allclose(filled[1], expected, rtol=1e-5)
    np.testing.assert_allclose(kappas.model, expected, rtol=2e-4)


@pytest.mark.parametrize("grader", ["answers", "answers_rubric", "llm_rubric", "peer"])
def test_graders_of_a_course(grader):
    grades = GRADES["out_peer_median"] if grader == "peer" else GRADES[f"in_{grader}"]
    grades, reference = np.float32(grades), np.float32(GRADES["in_instructor"])
    found = jax.jit(education.grade_agreement)(grades, reference)
    get = lambda name: GRADES[f"out_{grader}_{name}"]
    bias, mae, rmse = found.bias, found.mae, found.rmse
    np.testing.assert_allclose([mae, rmse, bias], get("mae_rmse_bias"), rtol=1e-5)
    for name in ("pearson", "spearman", "kendall"):
        np.testing.assert_allclose(getattr(found, name), get(name)[0], rtol=1e-5)
    np.testing.assert_allclose(found.exact, np.mean(grades == reference))
    np.testing.assert_allclose(found.near, np.mean(np.abs(grades - reference) <= 0.5))


def test_four_peers_are_as_reliable_as_spearman_and_brown_say():
    # Of the four peers only the medians are stored: ICC of one peer, (1,1) (A,1) (C,1), and of their mean.
    one, mean = GRADES["out_peers_icc"].reshape(2, 3)
    np.testing.assert_allclose(education.spearman_brown(one, 4), mean, rtol=1e-5)
    np.testing.assert_array_equal(GRADES["in_peer"], GRADES["out_peer_median"])


def test_the_trial():
    before, after = (
        np.float32(np.concatenate([TRIAL[f"in_{when}_{arm}"] for arm in ("control", "treat")]))
        for when in ("pre", "post")
    )
    arm = np.repeat([0, 1], [44, 39]).astype(np.int32)
    test = jax.jit(education.mixed_anova)(before, after, arm)
    np.testing.assert_allclose(test.statistic, TRIAL["out_mixed_anova_F"], rtol=1e-4)
    np.testing.assert_allclose(test.p_value, TRIAL["out_mixed_anova_p"], rtol=2e-3)
    np.testing.assert_allclose(test.share, TRIAL["out_mixed_anova_np2"], rtol=1e-4)
    pooled = t_test(after - before, arm, equal_variances=True)
    np.testing.assert_allclose(test.statistic[2], pooled.statistic**2, rtol=1e-4)
    effects = education.paired_effects(before[:44], after[:44])
    np.testing.assert_allclose(effects.dz, TRIAL["out_cohen_dz_control"], rtol=1e-5)
    np.testing.assert_allclose(effects.dav, TRIAL["out_cohen_dav_control"], rtol=1e-5)
    # People that do not count are dropped.
    where = np.arange(83) % 5 > 0
    spoiled = [np.where(where, x, np.nan) for x in (before, after)]
    for got, expected in zip(
        education.mixed_anova(*spoiled, arm, where=where),
        education.mixed_anova(before[where], after[where], arm[where]),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert jnp.isfinite(average_ranks(after)).all()
