"""Grades, raters, texts and trials: by hand, masks as dropped rows, what is degenerate, what simulations are like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import education as room
from jaxlab.metrics import equivalence_p_value, t_test
from tests.compiled import compiled_room

education = compiled_room(room)

RNG = np.random.default_rng(0)


def test_peers_by_hand():
    grades = np.float32([[1, 5, 9], [4, 7, 2], [2, np.nan, 3]])
    where = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0]], bool)
    median, graded = education.aggregate_peers(grades, where=where)
    np.testing.assert_array_equal(median, [2, 6, 0])
    np.testing.assert_array_equal(graded, [True, True, False])
    mean, _ = education.aggregate_peers(grades, how="mean", where=where)
    np.testing.assert_allclose(mean, [7 / 3, 6, 0], rtol=1e-6)
    assert np.isnan(education.aggregate_peers(grades)[0]).tolist() == [False, True, False]
    assert education.aggregate_peers(grades[:0])[1].tolist() == [False] * 3
    np.testing.assert_allclose(education.spearman_brown(np.float32([0.5, 0.0, 1.0]), 4), [0.8, 0, 1])


def test_grades_that_do_not_count_and_constant_ones():
    grades, reference = RNG.integers(0, 10, (2, 30)) / 2
    where = RNG.random(30) < 0.7
    got = education.grade_agreement(np.where(where, grades, np.nan), reference, where=where)
    np.testing.assert_allclose(got, education.grade_agreement(grades[where], reference[where]), rtol=1e-5)
    got = education.grade_agreement(np.full(30, 2.0), reference, undefined=0.0)
    assert (got.pearson, got.spearman, got.kendall) == (0, 0, 0)
    assert np.isnan(education.grade_agreement(np.full(30, 2.0), reference).pearson)
    spoiled = education.grade_agreement(np.where(where, grades, np.nan), reference, undefined=0.0)
    assert np.isnan(spoiled).all()
    none = education.grade_agreement(grades, reference, where=np.zeros(30), undefined=0.0)
    np.testing.assert_array_equal(none, np.zeros(8))


def test_the_bootstrap_of_a_mean_errs_as_often_as_it_says():
    key = jax.random.key(0)
    gaps = jax.random.normal(jax.random.fold_in(key, 1), (1000, 40))
    p = jax.jit(jax.vmap(lambda k, d: education.same_mean_p_value(k, d, resamples=199)))(
        jax.random.split(key, 1000), gaps
    )
    assert (
        0.03 < np.mean(p <= 0.05) < 0.09
    )  # a little above its level, as percentile methods are at this size
    where = np.arange(40) < 20
    wide = np.where(where, gaps[0] + 3, np.nan)
    assert education.same_mean_p_value(key, wide, resamples=199, where=where) < 0.02
    assert education.same_mean_p_value(key, np.zeros(5), resamples=9) == 1
    assert np.isnan(education.same_mean_p_value(key, wide, resamples=9))


@pytest.mark.parametrize(
    ("text", "options", "score"),
    [
        ("Score: 7/9", {}, 7),
        ("I give 8 out of 9 points", {}, 8),
        ("First 3/9, after all: Score: 4.5/9.", {}, 4.5),
        ("Score: 7", {}, 7),
        ("the grade is 6.3", {"step": 0.5}, 6.5),
        ("Score: 12/9", {}, 9),
        ("Score: -2/9", {}, 0),
        ("4/5", {}, 7.2),
        ("4/0", {}, np.nan),
        ("It is good.", {}, np.nan),
        ("", {}, np.nan),
    ],
)
def test_scores_in_texts(text, options, score):
    np.testing.assert_allclose(education.parse_score(text, total=9, **options), score)


def test_prompts_hold_what_they_should():
    plain = education.render_grading_prompt("Why is it dark?", "Dust.", "Night.", total=9)
    with_rubric = education.render_grading_prompt(
        "Why is it dark?", "Dust.", "Night.", total=9, rubric="Dust: 9"
    )
    for part in ("Why is it dark?", "Dust.", "Night.", "0 to 9", "Score: x/9"):
        assert part in plain
        assert part in with_rubric
    assert "Rubric" not in plain
    assert "Rubric:\nDust: 9" in with_rubric


def test_raters_by_hand():
    human1 = np.array([[0, 1], [0, 1], [1, 1], [1, -1]], np.int32)
    human2 = np.array([[0, 1], [0, 1], [1, 1], [0, 0]], np.int32)
    kappas = education.rater_kappas(human1, human2, human2)
    np.testing.assert_allclose(kappas.humans[0], 0.5)
    np.testing.assert_allclose(kappas.model[0], 0.75)
    assert np.isnan(kappas.humans[1])  # where both have labels, all are 1
    assert education.rater_kappas(human1, human2, human2, undefined=0.0).humans[1] == 0
    where = np.array([1, 1, 1, 0])[:, None]
    np.testing.assert_allclose(education.rater_kappas(human1, human2, human2, where=where).humans[0], 1)
    assert [education.parse_true_false(t) for t in ('"False".', "TRUE", "true or false")] == [0, 1, -1]


def test_bert_score_is_that_of_the_tokens_that_exist():
    reference, candidate = RNG.normal(size=(3, 5, 4)), RNG.normal(size=(3, 4, 4))
    ones = np.ones((3, 5)), np.ones((3, 4))
    exact = education.bert_score(reference, reference, ones[0], ones[0])
    np.testing.assert_allclose(exact, np.ones((3, 3)), rtol=1e-5)
    swapped = education.bert_score(candidate, reference, ones[1], ones[0])
    plain = education.bert_score(reference, candidate, *ones)
    np.testing.assert_allclose(swapped, [plain[1], plain[0], plain[2]], rtol=1e-5)
    # Padding adds tokens of similarity 0 and nothing else, also if it holds NaN.
    padded = np.concatenate([candidate, np.full((3, 2, 4), np.nan)], axis=1)
    mask = np.concatenate([ones[1], np.zeros((3, 2))], axis=1)
    got = education.bert_score(np.abs(reference), np.abs(padded), ones[0], mask)
    np.testing.assert_allclose(
        got, education.bert_score(np.abs(reference), np.abs(candidate), *ones), rtol=1e-5
    )
    for side in ((0 * ones[0], ones[1]), (ones[0], 0 * ones[1])):
        np.testing.assert_array_equal(education.bert_score(reference, candidate, *side), np.zeros((3, 3)))
    gradient = jax.grad(lambda r: jnp.sum(education.bert_score(r, candidate, *ones)[2]))(0 * reference)
    assert np.isfinite(gradient).all()


def test_weights_overlap_and_leaks():
    weights = room.idf_weights(
        np.array([[101, 5, 6, 102, 0]]),
        np.array([[1, 1, 1, 1, 0]]),
        corpus=[[101, 5], [5, 6], [5]],
        ends=(101, 102),
    )
    np.testing.assert_allclose(weights, [[0, 0, np.log(2), 0, 0]], rtol=1e-6)
    assert education.ngram_overlap("a b c d", "x a b c d y", n=4) == 1
    assert education.ngram_overlap("a b", "a b", n=3) == 0
    assert education.ngram_overlap("A, b!", "a b c", n=2) == 1
    assert education.leaked("Ada and ADA", ["ada"]) == ["Ada", "ADA"]


def test_simulated_graders_are_as_they_are_made():
    made = jax.jit(jax.vmap(lambda key: education.simulate_graders(key, 40)))(
        jax.random.split(jax.random.key(0), 50)
    )
    assert made.peers.shape == (50, 4, 40)
    for grades in made:
        assert ((grades >= 0) & (grades <= 9)).all()
        np.testing.assert_allclose(2 * grades, np.round(2 * grades), atol=1e-5)
    error = lambda grades: np.abs(grades - made.instructor).mean(-1)
    peers = np.median(made.peers, axis=1)
    assert np.mean(error(made.rubric) < error(peers)) > 0.9
    assert error(made.rubric).mean() < error(made.own_rubric).mean()
    closed = education.simulate_graders(jax.random.key(1), 2000, off_rubric=0.0)
    open_ended = education.simulate_graders(jax.random.key(1), 2000, off_rubric=0.6)
    gap = lambda made: np.abs(made.rubric - made.instructor).mean()
    assert gap(open_ended) > 1.5 * gap(closed)


def test_simulated_trials_are_as_they_are_made():
    trial = education.simulate_trial(jax.random.key(0), 20_001, effect=0.5, most=None)
    assert int((trial.group == 1).sum()) == 10_000
    within = trial.after - 0.5 * trial.group
    np.testing.assert_allclose(np.corrcoef(trial.before, within)[0, 1], 0.6, atol=0.02)
    np.testing.assert_allclose([within.std(), trial.before.std()], 2, rtol=0.02)
    gains = within - trial.before
    np.testing.assert_allclose([gains.mean(), gains.std()], [2.5, 2 * np.sqrt(0.8)], rtol=0.03)
    whole = education.simulate_trial(jax.random.key(0), 500)
    assert set(np.unique(whole.after)) <= set(np.arange(13.0))

    def study(key, effect):
        made = education.simulate_trial(key, 83, effect=effect, most=None)
        test = t_test(made.after - made.before, made.group)
        return test.p_value, equivalence_p_value(test, 0.5 * 2 * np.sqrt(0.8))

    keys = jax.random.split(jax.random.key(1), 2000)
    run = jax.jit(jax.vmap(study, in_axes=(0, None)))
    p, equivalent = run(keys, 0.0)
    assert 0.035 < np.mean(p <= 0.05) < 0.065
    # Half a standard deviation of gains: found in 61 %; without an effect equivalence is shown in about half.
    assert 0.40 < np.mean(equivalent <= 0.05) < 0.53
    p, equivalent = run(keys, 0.5 * 2 * np.sqrt(0.8))
    assert 0.57 < np.mean(p <= 0.05) < 0.66
    assert np.mean(equivalent <= 0.05) < 0.07


def test_too_little_to_go_by_shows_nothing():
    nothing, ones = np.zeros(0), np.ones(3)
    key = jax.random.key(0)
    assert education.same_mean_p_value(key, ones[:1], resamples=99) == 1  # of one, every resample is the same
    assert education.same_mean_p_value(key, ones, resamples=99, where=np.zeros(3)) == 1
    none = education.rater_kappas(*np.zeros((3, 0, 2), int))
    assert np.isnan(none).all()
    assert np.shape(none) == (2, 2)
    assert education.rater_kappas(*np.zeros((3, 4, 0), int)).humans.shape == (0,)
    apart = np.array([[0, -1], [1, -1], [-1, 0], [-1, 1]], np.int32)
    kappas = education.rater_kappas(apart, apart[:, ::-1], np.abs(apart), undefined=0.0)
    assert not kappas.humans.any()  # no text that both have labelled
    for scores in (nothing, ones[:1]):
        assert np.asarray(education.paired_effects(scores, scores)).tolist() == [0, 0]
    assert education.mixed_anova(nothing, nothing, nothing.astype(int)).p_value.tolist() == [1, 1, 1]
    one_group = education.mixed_anova(np.arange(4.0), np.arange(4.0) ** 2, np.zeros(4, int))
    np.testing.assert_array_equal(one_group.p_value[np.array([0, 2])], [1, 1])
    assert education.aggregate_peers(np.ones((2, 0)))[0].shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: room.grade_agreement(np.ones(3), np.ones(2)), r"grades \(3,\) and reference \(2,\)"),
        (lambda: room.grade_agreement(np.ones(3), np.ones(3), tolerance=-1), "tolerance must be at least 0"),
        (lambda: room.aggregate_peers(np.ones(3)), r"grades must be \[M, N\], got \(3,\)"),
        (lambda: room.aggregate_peers(np.ones((2, 3)), how="mode"), "how must be one of"),
        (lambda: room.spearman_brown(0.5, 0), "raters must be at least 1, got 0"),
        (lambda: room.same_mean_p_value(jax.random.key(0), np.ones(0)), r"difference must be \[N\]"),
        (lambda: room.same_mean_p_value(jax.random.key(0), np.ones(3), resamples=0), "resamples must be"),
        (lambda: room.parse_score("7", total=0), "total must be positive, got 0"),
        (lambda: room.render_grading_prompt("", "", "", total=-1), "total must be positive, got -1"),
        (lambda: room.rater_kappas(np.ones((2, 3), int), np.ones((2, 3), int), np.ones(3, int)),
         r"human1, human2 and model must all be \[N, L\]"),
        (lambda: room.rater_kappas(*np.zeros((2, 3, 1), int), np.full((3, 1), 2)),
         r"model must be in \[0, 2\), or negative for a missing label, got 2"),
        (lambda: room.rater_kappas(np.full((3, 1), np.nan), *np.zeros((2, 3, 1), int)), "human1 must be integers"),
        (lambda: room.bert_score(np.ones((1, 2, 3)), np.ones((1, 2, 4)), np.ones((1, 2)), np.ones((1, 2))),
         r"reference \(1, 2, 3\) must be \[B, K, D\]"),
        (lambda: room.bert_score(np.ones((1, 2, 3)), np.ones((1, 2, 3)), np.ones((1, 3)), np.ones((1, 2))),
         r"reference_mask \(1, 3\) must broadcast to the tokens of reference \(1, 2\)"),
        (lambda: room.idf_weights(np.ones((1, 2)), np.ones((1, 3)), corpus=[]), "must have the same shape"),
        (lambda: room.ngram_overlap("a", "b", n=0), "n must be at least 1, got 0"),
        (lambda: room.leaked("a", ["("]), "is no regular expression"),
        (lambda: room.mixed_anova(np.ones(3), np.ones(3), np.ones(2, int)), "before, after and group must all be"),
        (lambda: room.simulate_trial(jax.random.key(0), 1), "num_people must be at least 2, got 1"),
        (lambda: room.simulate_graders(jax.random.key(0), 0), "num_answers and num_peers must be at least 1"),
        (lambda: room.simulate_graders(jax.random.key(0), 3, step=0.0), "step must be positive, got 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
