"""Plackett-Luce distillation (PLD) against the classical losses on logits: the digits, and classes in a hierarchy.

PLD: A Choice-Theoretic List-Wise Knowledge Distillation, 2025, arXiv 2506.12542 (NeurIPS 2025).

    python -m experiments.run --config=configs/distillation/pld.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/pld.py:tune     # the search behind ARMS

Digits: scikit-learn's, an 8-unit student. Hierarchy: twenty procedural classes in five groups, a 32-unit student. Every
seed has its own split and its own classes. `:fashion` is Fashion-MNIST at 14 x 14 with small ConvNets.
Other than in the paper: students and teachers are small, the optimizer is AdamW with cosine decay; `:paper` has the
paper's section 5.1 on CIFAR-100, the user's images in a folder of .npy files that are read while it trains
(`--config.tasks.cifar100.data.path=cifar100`); `data.source` may also be "arrow" or, in memory, "npz".
"""

from configs._comparison import TUNE, comparison, grid, headline, premise, room, secondary
from configs.distillation import _tasks as tasks

BASE = {
    "experiment": "distillation.train_student",
    "paper": "PLD: A Choice-Theoretic List-Wise Knowledge Distillation (2025, arXiv 2506.12542)",
    "scale": "toy (MLPs of 8 and 32 units; digits, procedural classes)",
    "seeds": 16, "first_seed": 200,
    "log_every": 400, "eval_every": 800, "checkpoint_every": 2000,
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {"digits": tasks.DIGITS, "hierarchy": tasks.HIERARCHY},
}  # fmt: skip
METHODS = {name: {"method": name} for name in ("ce", "listmle", "pld")} | {
    "kd": {"method": "kd", "ce_weight": 0.1, "weight": 0.9},
    "dkd": {"method": "dkd", "ce_weight": 1.0, "options": {"alpha": 1.0}},
    "dist": {"method": "dist"},
}
SLOW, FAST = {"learning_rate": 3e-3}, {"learning_rate": 1e-2}
ARMS = {
    "digits": {
        "ce": SLOW | {"weight_decay": 1e-5},
        "kd": FAST | {"options.temperature": 4.0},
        "dkd": SLOW | {"options.beta": 0.3, "options.temperature": 4.0},
        "dist": SLOW | {"ce_weight": 1.0, "options": {"beta": 1.0, "gamma": 1.0}},
        "listmle": {"learning_rate": 1e-3, "weight_decay": 1e-5},
        "pld": SLOW | {"options.temperature": 2.0},
    },
    "hierarchy": {
        "ce": FAST | {"weight_decay": 1e-4},
        "kd": FAST | {"options.temperature": 2.0},
        "dkd": FAST | {"options.beta": 1.0, "options.temperature": 4.0},
        "dist": FAST | {"ce_weight": 1.0, "options": {"beta": 2.0, "gamma": 2.0}},
        "listmle": SLOW | {"weight_decay": 1e-3},
        "pld": FAST | {"options.temperature": 2.0},
    },
}
RATES = tasks.RATES
ALONE = grid(RATES | {"weight_decay": (1e-5, 1e-4, 1e-3, 1e-2)})
SOFT = grid(RATES | {"options.temperature": (1.0, 2.0, 4.0, 8.0)})
GRID = {
    "ce": ALONE,
    "kd": SOFT,
    "dkd": grid(RATES | {("options.beta", "options.temperature"): ((0.3, 4.0), (1.0, 4.0), (1.0, 8.0), (4.0, 4.0))}),
    "dist": grid(RATES | {("ce_weight", "options.beta", "options.gamma"):
                          ((0.1, 0.45, 0.45), (1.0, 1.0, 1.0), (1.0, 2.0, 2.0), (1.0, 4.0, 4.0))}),
    "listmle": ALONE,
    "pld": SOFT,
}  # fmt: skip
EDGES = {
    "ce": "no two decays differ by more than 0.002 at this rate",
    "listmle": "so do its decays; 1e-3, the lowest rate, is 0.004 above 3e-3",
    "dist.ce_weight": "three of four mixtures have 1, the paper's",
    "dkd": "less of the wrong classes, softer: not widened",
}
GATES = {"needs": ("teacher_better", "room", "converged")}
CLAIMS = (
    headline("pld", "kd", source="table 2", **GATES),
    secondary("pld", "listmle", **GATES),
    premise("teacher", "ce", "the teacher beats its student alone", name="teacher_better"),
    room("teacher", "kd", "kd leaves room", name="room", sesoi=0.02),
    premise("pld", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

FASHION = tasks.FASHION | {"tasks": {"fashion": tasks.FASHION_TASK | {"arms": ARMS["hierarchy"]}}}
PAPER = {
    "scale": "paper", "minutes": 600.0, "seeds": 3, "seeds_by": "map", "batch_size": 128, "augment": "crop_flip",
    "log_every": 390, "eval_every": 3900, "checkpoint_every": 3900,
    "tasks": {
        "cifar100": {
            "data": {"source": "npy", "path": "", "part": "rest", "pool": 1, "train": 36_000, "val": 1500},
            "teacher": {"kind": "resnet", "features": (9, 9, 9), "steps": 97_656, "learning_rate": 1e-3,
                        "weight_decay": 0.5},
            "student": {"kind": "resnet", "features": (3, 3, 3), "steps": 97_656},
            "arms": {
                "ce": {}, "kd": {"ce_weight": 0.1, "weight": 0.9, "options": {"temperature": 4.0}},
                "dkd": {"options.temperature": 4.0, "options.beta": 8.0},
                "dist": {"ce_weight": 0.1, "options": {"beta": 0.45, "gamma": 0.45}},
                "listmle": {}, "pld": {"options": {"temperature": 4.0}},
            },
        },
    },
    "tasks.cifar100.arms.*.learning_rate": 1e-3, "tasks.cifar100.arms.*.weight_decay": 0.5,
}  # fmt: skip

SEARCH = TUNE | {"grid": GRID}
get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=tasks.ARM, methods=METHODS,
    smoke={"tasks": ("digits",), "tasks.digits.student.steps": 20, "tasks.digits.teacher.steps": 20,
           "tasks.digits.teacher.features": (16,)},
    tune={"minutes": 8.0, "tasks.digits.data": tasks.TUNING},
    long=("tasks.*.student.steps",),
    variants={"fashion": FASHION, "paper": PAPER,
              "fashion_tune": FASHION | SEARCH | {"tasks.fashion.data.part": "tuning", "minutes": 30.0}},
)  # fmt: skip
