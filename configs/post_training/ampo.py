"""AMPO: where all of a group's answers fail, the answers of several teachers stand in, those that the student follows.

More Than One Teacher: Adaptive Multi-Guidance Policy Optimization, 2025.

    python -m experiments.run --config=configs/post_training/ampo.py        # about 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/ampo.py:tune   # the rates behind ARMS

Sums of 3 to 5 steps modulo 7; 6 are harder. Four teachers write right derivations in four styles: the answer alone, the
values, operands with values, whole equations. The student imitates operands with values until its demonstrations have a
probability of 0.15, for 20 to 60 % of its groups of 8 to fail altogether (a fifth do). `ampo` puts in the answer
behind which the student finds the right digit most likely, `random` any of them, `one_teacher` always the one with
whole equations; `grpo` has no teacher. All arms have the reward's mean for a baseline and no deviation.
Other than in the paper: everything but trigger, choice and loss; the format has no reward of its own.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "paper": "AMPO: More Than One Teacher, Adaptive Multi-Guidance Policy Optimization (2025)",
    "scale": "toy (a decoder 48 wide, sums in steps)",
    "task": policies.SORTING | {"name": "stepwise", "train": (3, 5), "harder": (6, 6), "pretrain": (3, 5),
                                "options": {"operations": "+", "moduli": 7, "styles": "operands", "room": 6},
                                "val": 256, "test": 256},
    "student": policies.IN_STEPS | {"target": 0.15},
    "eval_samples": 16, "pass_at": 16, "eval_every": 30,
}  # fmt: skip
TEACHERS = {"method": "teachers", "styles": ("direct", "values", "operands", "equations"), "count": 1}
NOTHING = {"followed": 0.0, "chance": 0.0, "last": 0.0}
METHODS = {
    "grpo": {"method": "alone"},
    "ampo": TEACHERS | {"choice": NOTHING | {"followed": 1.0}},
    "random": TEACHERS | {"choice": NOTHING | {"chance": 1.0}},
    "one_teacher": TEACHERS | {"choice": NOTHING | {"last": 1.0}},
}
ARMS = {name: {"learning_rate": 3e-4} for name in METHODS} | {"grpo": {"learning_rate": 2e-4}}
EDGES = dict.fromkeys(
    ("ampo", "random", "one_teacher"), "6e-4 and more were tried before: 0.26, 0.30 and 0.32 at most"
)
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (3e-5, 1e-4, 2e-4, 3e-4)}))
GATES = {"needs": ("failing", "room", "converged")}
CLAIMS = (
    headline("ampo", "grpo", "AMPO beats GRPO", sesoi=0.02, **GATES),
    secondary("ampo", "grpo", "AMPO finds more with 16 tries", metric="pass_at_16", sesoi=0.02, **GATES),
    secondary("ampo", "random", "what the student follows is better than any answer", sesoi=0.02, **GATES),
    ablation("ampo", "one_teacher", "several teachers are better than one", sesoi=0.02, **GATES),
    premise("grpo", 0.4, "20 to 60 % of the first groups fail", name="failing", relation="equivalent", sesoi=0.2,
            metric="early_failed"),
    premise("ampo", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
    room(1.0, "grpo", "GRPO leaves room", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM | {"advantage": "dr_grpo"}, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING | {"eval_samples": 16, "task.options.room": 4},
    tune={"minutes": 8.0, "eval_every": 150}, long=("steps",),
)  # fmt: skip
