"""Mixture of rewards: one training on exact verifiers and on a judge with a scale and noise of its own.

Intern-S1: A Scientific Multimodal Foundation Model, 2025, arXiv 2508.15763, section 5.2; The Entropy Mechanism of
Reinforcement Learning for Reasoning Language Models, 2025 (KL-Cov).

    python -m experiments.run --config=configs/post_training/mixture_of_rewards.py        # about 4 minutes
    python -m experiments.run --config=configs/post_training/mixture_of_rewards.py:tune   # the rates behind ARMS

Sums of 2 to 5 steps, right or wrong, and words with 1 to 4 properties, of which a judge says how many there are, on a
scale twenty times as large, with noise. Advantages are centred in the group and divided by the deviation of the batch,
so that scales matter. `calibrated` brings both to [-1, 1] first, `raw` does not. With four updates a batch, `four` is
`calibrated` again and `kl_cov` holds the 2 % of the tokens by which most entropy is lost near where they were.
Other than in the paper: no mixture of experts, and the common scale is ours, since the report gives none.
"""

from configs._comparison import comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "open_edges": ("calibrated: learning_rate", "kl_cov: learning_rate"),
    "paper": "Intern-S1's Mixture-of-Rewards (2025, arXiv 2508.15763)",
    "scale": "toy (a decoder 48 wide, sums and words)",
    "task": policies.SORTING | {
        "name": "mixture", "train": (0, 7), "harder": (3, 3), "pretrain": (0, 7), "test": 1000,
        "parts": {"sums": (0, 3), "words": (4, 7)},
        "options": {"sums": {"task": "stepwise", "levels": (2, 5), "operations": "+", "moduli": 7,
                             "styles": "operands"},
                    "words": {"task": "properties", "levels": (1, 4)}},
    },
    "student": policies.IN_STEPS | {"target": 0.08},
    "judge": {"part": 1, "scale": 20.0, "offset": 30.0, "noise": 0.2},
    "eval_every": 30,
}  # fmt: skip
JUDGED = {"method": "judged", "calibrated": True, "fraction": 0.02, "beta": 0.0}
METHODS = {
    "calibrated": JUDGED, "raw": JUDGED | {"calibrated": False},
    "four": JUDGED | {"minibatches": 4}, "kl_cov": JUDGED | {"minibatches": 4, "beta": 1.0},
}  # fmt: skip
ARMS = {"calibrated": {"learning_rate": 4e-4}, "raw": {"learning_rate": 2e-4}, "four": {"learning_rate": 1e-4},
        "kl_cov": {"learning_rate": 2e-4}}  # fmt: skip
GRID = {
    **dict.fromkeys(("calibrated", "raw"), grid({"learning_rate": (5e-5, 1e-4, 2e-4, 4e-4)})),
    **dict.fromkeys(("four", "kl_cov"), grid({"learning_rate": (2e-5, 5e-5, 1e-4, 2e-4)})),
}
EDGES = {"learning_rate": "the largest, by less than a standard error for calibrated: not widened"}
GATES = {"needs": ("start", "learns", "room", "converged"), "sesoi": 0.02}
CLAIMS = (
    headline("calibrated", "raw", "a common scale helps the exact task", metric="test_sums/accuracy", **GATES),
    secondary("calibrated", "raw", "and costs the judged one nothing", metric="test_words/score", relation="not_worse",
              **GATES),
    secondary("kl_cov", "four", "KL-Cov helps with four updates a batch", **GATES),
    secondary("kl_cov", "four", "KL-Cov keeps entropy", metric="entropy", needs=("start",), sesoi=0.01),
    premise("student", 0.35, "the start succeeds in 15 to 55 %", name="start", relation="equivalent", sesoi=0.2),
    premise("calibrated", "student", "the exact task is learned", name="learns", metric="test_sums/accuracy",
            sesoi=0.02),
    premise("calibrated", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
    room(1.0, "raw", "raw rewards leave room", name="room", metric="test_sums/accuracy", sesoi=0.04),
)  # fmt: skip

SMALL = {"task.train": (0, 1), "task.harder": (0, 0), "task.pretrain": (0, 1),
         "task.parts": {"sums": (0, 0), "words": (1, 1)}, "task.options.sums.levels": (2, 2),
         "task.options.words.levels": (2, 2)}  # fmt: skip
JUDGE = "val/accuracy"
get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | SMALL, tune={"minutes": 8.0, "eval_every": 150}, long=("steps",),
)  # fmt: skip
