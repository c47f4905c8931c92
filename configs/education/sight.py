"""SIGHT: does a language model agree with people where people agree with each other?

SIGHT: A Large Annotated Dataset on Student Insights Gathered from Higher Education Transcripts, 2023, arXiv 2306.09343.

    python -m experiments.run --config=configs/education/sight.py    # half a minute on 2 CPU cores

The authors' own labels: 289 comments, nine categories, two people and a model with three kinds of prompt. Nothing is
trained and there are no seeds: each of the 400 is a resample of the comments, and intervals are percentiles. `both` and
`categories` resample the nine categories, of which the correlation is taken; that says how far nine points go.
A kappa is over the comments that both sides labelled; with examples a third of the model's labels is missing.
The prompts were improved on part of these comments, and the two bands of categories, agreed and doubtful, are the
authors' reading of these kappas: neither is known of new comments.
"""

from configs._comparison import ablation, comparison, headline, premise, secondary

BASE = {
    "experiment": "education.measure",
    "paper": "SIGHT: A Large Annotated Dataset on Student Insights (2023, arXiv 2306.09343)",
    "scale": "small, real (289 comments)", "minutes": 0.5, "seeds": 400,
    "data": {"source": "sight"},
}  # fmt: skip
ARM = {
    "method": "raters", "labels": "zero_shot", "resample": ("comments",), "by_category": False,
    "agreed": ("confusion", "setup", "gratitude", "non_english"),
    "doubtful": ("general", "pedagogy", "personal_experience", "none"),
}  # fmt: skip
ARMS = {
    "zero_shot": {}, "few_shot": {"labels": "few_shot"}, "reasoning": {"labels": "reasoning"},
    "categories": {"resample": ("categories",)}, "both": {"resample": ("comments", "categories")},
    "as_they_are": {"resample": (), "by_category": True},
}  # fmt: skip
OF_DATA = {"rule": "percentile"}
GATE = {"needs": ("people_differ",)}
CLAIMS = (
    headline("zero_shot", 0, "the more two people agree on a category, the more the model agrees with them", sesoi=0.3,
             name="correlation", source="abstract", **GATE, **OF_DATA),
    secondary("zero_shot", 0, "the model agrees more where people agree by 0.9 than where by 0.7 to 0.8", sesoi=0.2,
              name="bands", metric="model_gap", source="abstract", **GATE, **OF_DATA),
    secondary("both", 0, "so it would in other categories of other comments", sesoi=0.3, name="other_categories",
              **GATE, **OF_DATA),
    secondary("few_shot", 0, "so it does with three examples in the prompt", sesoi=0.3, name="with_examples", **GATE,
              **OF_DATA),
    ablation("reasoning", 0, "and with a reason for each", sesoi=0.3, name="with_reasons", **GATE, **OF_DATA),
    ablation("categories", 0, "and in other categories of the same comments", sesoi=0.3, name="only_categories",
             **GATE, **OF_DATA),
    premise("zero_shot", 0, "people agree more in some categories than in others", sesoi=0.05, name="people_differ",
            metric="people_gap", **OF_DATA),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/correlation", arm=ARM, smoke={"seeds": 45},
)  # fmt: skip
