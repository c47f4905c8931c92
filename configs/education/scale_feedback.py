"""SCALEFeedback: what a correlation of marks over 155 assignments tells, and ten models without a difference.

SCALEFeedback: A Large-Scale Dataset of Synthetic Computer Science Assignments for LLM-generated Educational Feedback
Research, 2025, arXiv 2508.05953.

    python -m experiments.run --config=configs/education/scale_feedback.py    # about 1 minute on 2 CPU cores

The paper's claims are about rewritten submissions: their marks correlate by 0.624 with those of their sources, and
feedback by ten language models is as good on either. No simulation decides them. What can be decided is what these
statistics tell:
- marks: 155 assignments of 64 submissions, of whose variance `share` is between assignments. `blind` imitations keep
  the assignment and nothing of the student, `follows` has the paper's correlation, `independent` has no assignments;
- models: ten differences of ratings, `apart` by half of their standard deviation.
Precision, recall and F of BERTScore are highest for a copy, by definition: that is a test of the library and no claim.
The share of 0.3 is our guess; the paper's is not known.
"""

from configs._comparison import ablation, comparison, headline, premise, secondary

BASE = {
    "experiment": "education.measure",
    "paper": "SCALEFeedback: A Large-Scale Dataset of Synthetic Computer Science Assignments (2025, arXiv 2508.05953)",
    "scale": "method study (simulated marks)", "minutes": 1.0, "seeds": 16, "seeds_by": "map",
    "data": {"source": "simulated"},
}  # fmt: skip
ARM = {"studies": 500, "resamples": 199}
MARKS = {"method": "marks", "assignments": 155, "submissions": 64, "share": 0.3, "follow": 0.0}
MODELS = {"method": "ratings", "models": 10, "effect": 0.0, "bound": 0.5}
METHODS = {
    **dict.fromkeys(("independent", "blind", "follows"), MARKS), **dict.fromkeys(("alike", "apart", "alike50"), MODELS),
}  # fmt: skip
ARMS = {
    "independent": {"share": 0.0, "follow": 0.624}, "blind": {}, "follows": {"follow": 0.463},
    "alike": {}, "apart": {"effect": 0.5}, "alike50": {"models": 50},
}  # fmt: skip
LEVEL = {"relation": "equivalent"}
CLAIMS = (
    headline(0.95, "blind", "95 % intervals that ignore assignments hold the correlation too rarely", sesoi=0.05,
             name="ignoring_assignments", needs=("plain_interval",)),
    headline(0.5, "alike", "of ten models without a difference, fewer than half of the studies show equivalence",
             metric="equivalent", sesoi=0.02, name="equivalence_is_missed", needs=("t_test_level",)),
    secondary("blind", 0.95, "intervals by resampling assignments hold it in 95 % of studies, within 3 %", sesoi=0.03,
              name="resampling_assignments", metric="covered_by_assignment", **LEVEL),
    secondary(name="difference_is_missed", sesoi=0.02, needs=("t_test_level",),
              text="of ten models half a deviation apart, more than half of the studies find nothing",
              terms=((0.5, "", 1.0), ("apart", "test/t_test", -1.0))),
    ablation("follows", 0.95, "so they do where imitations follow the student", name="resampling_when_followed",
             metric="covered_by_assignment", sesoi=0.03, **LEVEL),
    ablation("alike50", 0.8, "fifty models show equivalence in four of five studies", metric="equivalent", sesoi=0.02),
    premise("independent", 0.95, "without assignments the plain interval holds it", name="plain_interval", sesoi=0.02,
            **LEVEL),
    premise("alike", 0.05, "Student's test errs in 5 % of studies, within 2 %", name="t_test_level", metric="t_test",
            sesoi=0.02, **LEVEL),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/covered", arm=ARM, methods=METHODS,
    smoke={"arms.*.studies": 20, "arms.*.resamples": 19},
)  # fmt: skip
