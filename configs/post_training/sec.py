"""SEC: a bandit chooses the level of the problems, paid in the absolute advantages that they gave.

Self-Evolving Curriculum for LLM Reasoning, 2025, arXiv 2505.14970.

    python -m experiments.run --config=configs/post_training/sec.py        # about a minute on 2 CPU cores
    python -m experiments.run --config=configs/post_training/sec.py:tune   # the settings behind ARMS

Sort 3 to 8 digits, one level for each length; 9 and 10 are beyond all training. The policy imitates short ones until
its demonstrations have a probability of 0.3, then takes 150 batches of 16 problems x 8 answers. `random` draws levels
alike, `easy_to_hard` in order, each for as long. An advantage is at most about 1, so a temperature of 1 draws nearly
alike: the search has 0.1 and 0.2.
Other than in the paper: everything but the bandit; problems are drawn afresh, there are no pools to use up.
"""

from configs._comparison import comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "minutes": 1.5,
    "paper": "SEC: Self-Evolving Curriculum for LLM Reasoning (2025, arXiv 2505.14970)",
    "task": policies.SORTING | {"train": (3, 8), "harder": (9, 10), "pretrain": (3, 8), "val": 512},
}
METHODS = {
    "sec": {"method": "bandit", "temperature": 0.2, "rate": 0.5},
    "random": {},
    "easy_to_hard": {"method": "in_order"},
}
ARMS = {
    "sec": {"learning_rate": 5e-4, "temperature": 0.2}, "random": {"learning_rate": 2.5e-4},
    "easy_to_hard": {"learning_rate": 1.25e-4},
}  # fmt: skip
EDGES = {
    "sec": "a rate of 1e-3 was tried before, with temperatures of 0.2 and 0.4: 0.42 at most; none between"
}
RATES = (6e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3)
GRID = {
    "sec": grid({"learning_rate": (1.25e-4, 2.5e-4, 5e-4), "temperature": (0.1, 0.2)}),
    "random": grid({"learning_rate": RATES}), "easy_to_hard": grid({"learning_rate": RATES}),
}  # fmt: skip
GATES = {"needs": ("start", "upward", "room", "converged")}
CLAIMS = (
    headline("sec", "random", "SEC beats random levels on longer problems", metric="test_harder/accuracy",
             name="harder", **GATES),
    secondary("sec", "random", "SEC beats random levels on the levels of training", **GATES),
    secondary("sec", "easy_to_hard", "SEC beats the order from easy to hard on longer problems",
              metric="test_harder/accuracy", name="order", **GATES),
    premise("student", 0.4, "the start succeeds in 20 to 60 %", name="start", relation="equivalent", sesoi=0.2),
    premise(text="the bandit moves to longer problems", name="upward", sesoi=0.3,
            terms=(("sec", "test/late_level", 1.0), ("sec", "test/early_level", -1.0))),
    premise("sec", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
    room(1.0, "random", "random levels leave room", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING, tune={"minutes": 2.0, "eval_every": 150}, long=("steps",),
)  # fmt: skip
