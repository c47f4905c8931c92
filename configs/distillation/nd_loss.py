"""Feature norm and direction (ND, KD++) added to KD, against KD and against either half, on a hierarchy of classes.

Improving Knowledge Distillation via Regularizing Feature Norm and Direction, 2023, arXiv 2305.17007.

    python -m experiments.run --config=configs/distillation/nd_loss.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/nd_loss.py:tune     # the search behind ARMS

Arms: cross-entropy (`ce`); that and KD at temperature 4 (`kd`); to this the cosine to the teacher's class mean
(`kd_direction`), the reward of length up to the teacher's (`kd_norm`), or both in one term (`kd_nd`). `feature_norm`
is the mean length of what the student's classifier reads. Twenty procedural classes, every seed its own, a teacher of
width 64 before its classifier and a student of 16, where a feature term brings a linear projector that is dropped after
training. The paper's premise is that the teacher's class means know more than the student: they have to name test
images better than it, as nearest means (`means`).
Other than in the paper: MLPs; the projector has no batch normalisation and no dropout; AdamW with cosine decay. The
paper: CIFAR-100, ResNet-56 to ResNet-20, 240 epochs of batches of 128, SGD 0.1 with steps, weights 1 for KD and 2 for
ND. As there, only the weight of KD grows over the first twelfth (the paper: per epoch).
"""

from configs._comparison import TUNE, ablation, comparison, grid, headline, premise, room
from configs.distillation import _tasks as tasks

BASE = {
    "experiment": "distillation.train_student",
    "paper": "ND: Improving Knowledge Distillation via Regularizing Feature Norm and Direction (2023, "
    "arXiv 2305.17007)",
    "scale": "toy (16-unit MLP, procedural classes)",
    "seeds": 16, "first_seed": 200,
    "log_every": 400, "eval_every": 800, "checkpoint_every": 2000,
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {
        "narrow": {
            "data": tasks.HIERARCHY_DATA,
            "teacher": {"kind": "mlp", "features": (256, 64), "steps": 2000, "learning_rate": 3e-3,
                        "weight_decay": 1e-4},
            "student": {"kind": "mlp", "features": (16,), "steps": 4000},
        },
    },
}  # fmt: skip
ARM = {
    "method": "features",
    "loss": "kd",
    "options": {"temperature": 4.0},
    "feature_loss": "none",
    "ce_weight": 1.0,
    "weight": 0.0,
    "feature_weight": 0.0,
    "warm_up": 1 / 12,  # share of the steps in which the weight of KD grows from 0
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
}
METHODS = {
    "kd_direction": {"feature_loss": "direction"},
    "kd_norm": {"feature_loss": "norm"},
    "kd_nd": {"feature_loss": "nd"},
}
SETTINGS = {
    "ce": {"learning_rate": 3e-3, "weight_decay": 1e-3},
    "kd": {"weight": 27.0},
    "kd_direction": {"weight": 0.3, "feature_weight": 0.5},
    "kd_norm": {"learning_rate": 3e-2, "weight": 9.0, "feature_weight": 9.0},
    "kd_nd": {"weight": 3.0, "feature_weight": 1.5},
}
ARMS = {"narrow": SETTINGS}
RATES = {"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2)}
# Weights against that of cross-entropy, 1, from a part of the loss to nearly all of it.
FEATURES = grid(RATES | {("weight", "feature_weight"): ((0.3, 0.5), (3.0, 1.5), (9.0, 9.0), (27.0, 27.0))})
GRID = {
    "ce": grid(RATES | {"weight_decay": (1e-5, 1e-4, 1e-3, 1e-2)}),
    "kd": grid(RATES | {"weight": (0.3, 3.0, 9.0, 27.0)}),
    "kd_direction": FEATURES,
    "kd_norm": FEATURES,
    "kd_nd": FEATURES,
}
EDGES = {
    "kd": "at 27 KD is nearly all of the loss",
    "kd_direction": "the smallest weights: not widened",
    "kd_norm": "3e-2, the highest rate: not widened",
}
GATES = {"needs": ("means_better", "room", "converged")}
CLAIMS = (
    headline("kd_nd", "kd", "norm and direction beat kd", **GATES),
    ablation("kd_nd", "kd_direction", "norm and direction beat direction alone", **GATES),
    ablation("kd_nd", "kd_norm", "norm and direction beat norm alone", **GATES),
    premise("means", "kd", "the teacher's nearest class mean beats the student", name="means_better"),
    room("teacher", "kd", "kd leaves room", name="room", sesoi=0.02),
    premise("kd_nd", "kd", "norm and direction lengthen the features", metric="feature_norm", sesoi=1.0,
            name="longer_features"),
    premise("kd_nd", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
FASHION = tasks.FASHION | {"tasks": {"fashion": tasks.FASHION_TASK | {"arms": SETTINGS}}}

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"tasks": ("narrow",), "arms": ("kd", "kd_norm", "kd_nd"), "batch_size": 16, "log_every": 3,
           "eval_every": 6, "checkpoint_every": 6, "tasks.narrow.data.train": 100, "tasks.narrow.data.val": 20,
           "tasks.narrow.data.test": 20, "tasks.narrow.teacher.features": (16,),
           "tasks.narrow.teacher.steps": 6, "tasks.narrow.student.features": (8,),
           "tasks.narrow.student.steps": 6},
    tune={"minutes": 5.0}, long=("tasks.*.student.steps",),
    variants={"fashion": FASHION,
              "fashion_tune": FASHION | TUNE | {"grid": GRID, "tasks.fashion.data.part": "tuning", "minutes": 30.0}},
)  # fmt: skip
