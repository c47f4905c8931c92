"""Synthetic learning videos: what a trial of 83 people that ends with p = .80 can tell.

Generative AI for Learning: Investigating the Potential of Synthetic Learning Videos, 2023, arXiv 2304.03784 (AIED).

    python -m experiments.run --config=configs/education/synthetic_video_study.py    # about 1 minute on 2 CPU cores

The paper's claim is about people: those who learned from a generated presenter gained as much as the others, p = .80.
No simulation decides it. What can be decided is what its tests tell at its size: every seed simulates 2,000 trials of
people in two groups, tested before and after, whose true difference is known, and counts how often a test says so.
Differences and the bound of equivalence are in standard deviations of GAINS, 0.89 of those of scores at a correlation
of 0.6. An arm is `n<people>_<difference in hundredths>`; `whole` has whole points from 0 to 12, with a ceiling.
The sizes of the two groups are not known; here they differ by one at most.
"""

from configs._comparison import ablation, comparison, headline, premise, secondary

BASE = {
    "experiment": "education.measure",
    "paper": "Generative AI for Learning: the Potential of Synthetic Learning Videos (2023, arXiv 2304.03784)",
    "scale": "method study (simulated trials)", "minutes": 1.0, "seeds": 16, "seeds_by": "map",
    "data": {"source": "simulated"},
}  # fmt: skip
ARM = {
    "method": "trial", "studies": 2000, "people": 83, "effect": 0.0, "bound": 0.5, "gain": 2.5, "sd": 2.0,
    "correlation": 0.6, "most": None, "p_value": 0.8, "resamples": 0,
}  # fmt: skip
ARMS = {
    "n83_0": {}, "n83_25": {"effect": 0.25}, "n83_50": {"effect": 0.5},
    "n200_0": {"people": 200}, "n200_50": {"people": 200, "effect": 0.5},
    "whole": {"most": 12.0, "resamples": 99},
}  # fmt: skip
RIGHT = ("gain_test_level", "ancova_level")
LEVEL = {"relation": "equivalent", "sesoi": 0.01}
level = lambda kind, arm, test, words: kind(
    arm, 0.05, f"{words} errs in 5 % of trials, within 1 %", metric=test, name=f"{test}_level", **LEVEL
)
CLAIMS = (
    headline(0.5, "n83_0", "where 83 people learn alike, fewer than half of the trials show equivalence", sesoi=0.02,
             name="equivalence_is_missed", metric="equivalent", needs=RIGHT[:1]),
    headline("n83_0", 0.3, "p = .80 of 83 people leaves differences of 0.3 deviations open", sesoi=0.02,
             name="p80_leaves_open", metric="shown_at_p", needs=RIGHT[:1]),
    secondary(name="difference_is_missed", sesoi=0.02, needs=RIGHT[:1],
              text="where 83 people gain half a deviation apart, more than a third of the trials find nothing",
              terms=((2 / 3, "", 1.0), ("n83_50", "test/gain_test", -1.0))),
    secondary(name="ancova_over_gain_test", sesoi=0.03, needs=RIGHT,
              text="analysis of covariance finds half a deviation more often than the test of gains",
              terms=(("n83_50", "test/ancova", 1.0), ("n83_50", "test/gain_test", -1.0))),
    ablation("n200_0", 0.8, "200 people show equivalence in four of five trials", metric="equivalent", sesoi=0.02),
    level(premise, "n83_0", "gain_test", "the test of gains"),
    level(premise, "n83_0", "ancova", "analysis of covariance"),
    level(ablation, "n83_0", "rank_test", "the rank test"),
    level(ablation, "whole", "permutation_test", "the permutation test"),
    ablation("whole", 0.05, "whole points with a ceiling leave the test of gains right", metric="gain_test", **LEVEL),
    ablation("n83_50", 0.05, "at its bound, equivalence is shown in 5 % of the trials", metric="equivalent", **LEVEL),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/gain_test", arm=ARM, smoke={"arms.*.studies": 40},
)  # fmt: skip
