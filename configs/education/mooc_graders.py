"""Graders of online courses: what "no significant difference from the instructor" tells of ten or forty answers.

Large Language Models As MOOCs Graders, 2024, arXiv 2402.03776.

    python -m experiments.run --config=configs/education/mooc_graders.py    # about 1 minute on 2 CPU cores

The paper's claim is about language models, peers and instructors; a simulation of graders encodes who is better, and
decides nothing. What can be decided is what its test tells: the bootstrap of the mean difference of grades, where
p >= .05 means that a grader is aligned with the instructor. Every seed simulates 1,000 courses of 400 answers (twelve
weighted points, 9 marks) with a grader whose mean difference is known, and draws the answers to be graded from them.
`off` graders are too high on average, by half a mark of ten answers and a quarter of forty; `open` questions earn half
of their marks for what no rubric lists; a `stranger` gives the instructor's grades of other answers.
The number of answers per course is not known. That the grader with the rubric beats the median of four peers is how
they were made, so it is no claim.
"""

from configs._comparison import ablation, comparison, headline, premise, secondary

BASE = {
    "experiment": "education.measure",
    "paper": "Large Language Models As MOOCs Graders (2024, arXiv 2402.03776)",
    "scale": "method study (simulated graders)", "minutes": 1.0, "seeds": 16, "seeds_by": "map",
    "data": {"source": "simulated"},
}  # fmt: skip
ARM = {
    "method": "grading", "studies": 1000, "grader": "rubric", "answers": 40, "course": 400, "bias": 0.0, "bound": 0.5,
    "miss_rate": 0.05, "off_rubric": 0.0, "resamples": 399,
}  # fmt: skip
ARMS = {
    "same10": {"answers": 10}, "same40": {}, "same200": {"answers": 200},
    "off10": {"answers": 10, "bias": 0.5}, "off40": {"bias": 0.25},
    "peers40": {"grader": "peers"}, "stranger40": {"grader": "strangers"}, "open40": {"off_rubric": 0.5},
}  # fmt: skip
LEVEL = {"relation": "equivalent"}
CLAIMS = (
    headline(name="bias_passes", sesoi=0.02, needs=("t_test_level",),
             text="of forty answers, a grader a quarter of a mark too high passes more often than one in three",
             terms=((2 / 3, "", 1.0), ("off40", "test/bootstrap_test", -1.0))),
    headline("same10", 0.05, "of ten answers, the bootstrap calls aligned graders off too often", sesoi=0.02,
             name="level_of_ten", needs=("t_test_level",)),
    secondary("same40", 0.05, "of forty answers, it does so in 5 % of cases, within 2 %", sesoi=0.02,
              name="level_of_forty", **LEVEL),
    secondary("same40", 0.8, "of forty answers, four in five aligned graders are shown to be within half a mark",
              metric="equivalent", sesoi=0.02),
    ablation("stranger40", "same40", "who grades other answers passes as often as who has the rubric", sesoi=0.02,
             **LEVEL),
    ablation(0.5, "open40", "on open questions fewer than half are shown to be within half a mark", metric="equivalent",
             sesoi=0.02),
    premise("same40", 0.05, "Student's test errs in 5 % of cases, within 2 %", name="t_test_level", metric="t_test",
            sesoi=0.02, **LEVEL),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/bootstrap_test", arm=ARM,
    smoke={"arms.*.studies": 20, "arms.*.course": 60, "arms.*.resamples": 19},
)  # fmt: skip
