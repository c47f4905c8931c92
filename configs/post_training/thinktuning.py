"""ThinkTuning: a tutor writes behind some answers what it thinks of them, and the policy learns to do so itself.

ThinkTuning: Instilling Cognitive Reflections without Distillation, 2025, arXiv 2508.07616 (EMNLP 2025).

    python -m experiments.run --config=configs/post_training/thinktuning.py        # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/thinktuning.py:tune   # the rates behind ARMS

Sums of 3 to 5 steps modulo 7; 6 are harder. An answer may be reconsidered, `...=5?=7`: the last digit
counts. The policy has never seen that. A tutor reads a quarter of each group's answers, wrong ones first, works the
problem out with an error in 15 % and writes `?=` and its own digit behind them; what comes out is rewarded and learned
from. `grpo` has no tutor; `clipped` treats its tokens as the policy's own; `grpo_after_sft` imitates what became right,
for half of the steps with twice the share read, and is trained without a tutor for the other half: as many answers
and as many of the tutor's texts.
Other than in the paper, whose code is not public: the weights by advantage, and which answers are read, are inferred;
the tutor is a calculator that errs. A reconsidered answer costs a policy three tokens and no thought, so what can be
learned is that the digits written before allow a better guess.
"""

from configs._comparison import comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "paper": "ThinkTuning: Instilling Cognitive Reflections without Distillation (2025, arXiv 2508.07616)",
    "scale": "toy (a decoder 48 wide, sums in steps)",
    "task": policies.SORTING | {"name": "stepwise", "train": (3, 5), "harder": (6, 6), "pretrain": (3, 5),
                                "options": {"operations": "+", "moduli": 7, "styles": "operands", "room": 4}},
    "student": policies.IN_STEPS | {"target": 0.2, "steps": 800},
    "extra_context": 4,  # for what a tutor writes
    "tutored": policies.ARM | {"steps": 75, "fraction": 0.5, "tutor_error": 0.15, "learning_rate": 3e-5},
    "eval_every": 15,
}  # fmt: skip
TUTORED = {"method": "tutored", "tutor_error": 0.15, "fraction": 0.25, "shaped": True}
METHODS = {
    "grpo": TUTORED | {"fraction": 0.0},
    "thinktuning": TUTORED,
    "clipped": TUTORED | {"shaped": False},
    "grpo_after_sft": TUTORED | {"method": "after_tutor", "fraction": 0.0, "steps": 75},
}
ARMS = {
    "grpo": {"learning_rate": 4e-4}, "thinktuning": {"learning_rate": 1e-4}, "clipped": {"learning_rate": 2e-5},
    "grpo_after_sft": {"learning_rate": 2e-4},
}  # fmt: skip
GRID = {
    "grpo": grid({"learning_rate": (1e-4, 2e-4, 4e-4, 8e-4)}),
    "thinktuning": grid({"learning_rate": (5e-5, 1e-4, 2e-4, 4e-4)}),
    "clipped": grid({"learning_rate": (1e-5, 2e-5, 5e-5, 1e-4)}),
    "grpo_after_sft": grid({"learning_rate": (1e-4, 2e-4, 4e-4, 8e-4)}),
}
GATES = {"sesoi": 0.02, "needs": ("start", "revises", "room", "converged")}
CLAIMS = (
    headline("thinktuning", "grpo_after_sft", "a tutor in the loop beats imitating it first", **GATES),
    secondary("thinktuning", "grpo", "a tutor in the loop beats none", **GATES),
    secondary("thinktuning", "clipped", "weights by advantage beat a clipped ratio", **GATES),
    premise("student", 0.3, "the start succeeds in 10 to 50 %", name="start", relation="equivalent", sesoi=0.2),
    premise("thinktuning", 0.0, "the policy comes to reconsider by itself", name="revises", metric="late_revised",
            sesoi=0.05),
    premise("thinktuning", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
    room(1.0, "grpo", "GRPO leaves room", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM | {"advantage": "dr_grpo"}, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING | {"tutored.steps": 2, "arms.grpo_after_sft.steps": 2},
    tune={"minutes": 8.0}, long=("steps", "tutored.steps", "arms.grpo_after_sft.steps"),
)  # fmt: skip
