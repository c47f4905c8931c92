"""Studies of learning measured with people: grades and graders, ratings, trials, texts that stand for real ones.

What is computed is compiled and maps over studies; what reads or writes text is plain Python. The statistics themselves
are in `jaxlab.metrics`.
"""

from jaxlab.education._grading import (
    GradeAgreement,
    aggregate_peers,
    grade_agreement,
    parse_score,
    render_grading_prompt,
    same_mean_p_value,
    spearman_brown,
)
from jaxlab.education._raters import RaterKappas, parse_true_false, rater_kappas
from jaxlab.education._resemblance import bert_score, idf_weights, leaked, ngram_overlap
from jaxlab.education._simulated_graders import GradedAnswers, simulate_graders
from jaxlab.education._trials import PairedEffects, Trial, mixed_anova, paired_effects, simulate_trial

__all__ = [
    "GradeAgreement",
    "GradedAnswers",
    "PairedEffects",
    "RaterKappas",
    "Trial",
    "aggregate_peers",
    "bert_score",
    "grade_agreement",
    "idf_weights",
    "leaked",
    "mixed_anova",
    "ngram_overlap",
    "paired_effects",
    "parse_score",
    "parse_true_false",
    "rater_kappas",
    "render_grading_prompt",
    "same_mean_p_value",
    "simulate_graders",
    "simulate_trial",
    "spearman_brown",
]
