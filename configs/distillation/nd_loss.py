"""Feature norm and direction (ND, KD++) added to KD, against KD and against either half, on a hierarchy of classes.

Improving Knowledge Distillation via Regularizing Feature Norm and Direction, 2023, arXiv 2305.17007.

    python -m experiments.run --config=configs/distillation/nd_loss.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/nd_loss.py:tune     # the search behind ARMS

Arms: cross-entropy (`ce`); that and KD at temperature 4 (`kd`); to this the cosine to the teacher's class mean
(`kd_direction`), the reward of length up to the teacher's (`kd_norm`), or both in one term (`kd_nd`). `feature_norm`
is the mean length of what the student's classifier reads. Twenty procedural classes, a teacher of width 64 before its
classifier, a student of the same width and a narrow one of 32, where a feature term brings a linear projector that is
dropped after training.
Other than in the paper: MLPs; the projector has no batch normalisation and no dropout; AdamW with cosine decay. The
paper: CIFAR-100, ResNet-56 to ResNet-20, 240 epochs of batches of 128, SGD 0.1 with steps, weights 1 for KD and 2 for
ND. As there, only the weight of KD grows over the first twelfth (the paper: per epoch).
"""

from configs._comparison import ablation, comparison, grid, headline, premise

TASK = {
    "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 4000,
             "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
    "teacher": {"kind": "mlp", "features": (256, 64), "steps": 1500, "learning_rate": 3e-3,
                "weight_decay": 1e-4},
}  # fmt: skip
STUDENT = {"kind": "mlp", "steps": 1000}
BASE = {
    "experiment": "distillation.train_student",
    "paper": "ND: Improving Knowledge Distillation via Regularizing Feature Norm and Direction (2023, "
    "arXiv 2305.17007)",
    "scale": "toy (MLPs of 32 and 64 units, procedural classes)",
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {
        "same_width": TASK | {"student": STUDENT | {"features": (64,)}},
        "narrow": TASK | {"student": STUDENT | {"features": (32,)}},
    },
}
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
ARMS = {
    "same_width": {
        "ce": {"learning_rate": 1e-2},
        "kd": {"weight": 9.0},
        "kd_direction": {"weight": 9.0, "feature_weight": 4.5},
        "kd_norm": {"weight": 3.0, "feature_weight": 1.5},
        "kd_nd": {"weight": 9.0, "feature_weight": 4.5},
    },
    "narrow": {
        "ce": {"learning_rate": 1e-2},
        "kd": {"weight": 9.0},
        "kd_direction": {"weight": 0.3, "feature_weight": 0.5},
        "kd_norm": {"weight": 9.0, "feature_weight": 4.5},
        "kd_nd": {"weight": 9.0, "feature_weight": 4.5},
    },
}
# Weights against that of cross-entropy, 1, in the range where it is a tenth to most of the loss.
FEATURES = grid({("weight", "feature_weight"): ((0.3, 0.5), (1.0, 1.5), (3.0, 1.5), (9.0, 4.5))})
GRID = {
    "ce": grid({"learning_rate": (3e-3, 1e-2, 2e-2, 3e-2)}),
    "kd": grid({"weight": (0.3, 1.0, 3.0, 9.0)}),
    "kd_direction": FEATURES,
    "kd_norm": FEATURES,
    "kd_nd": FEATURES,
}
EDGES = dict.fromkeys(("weight", "feature_weight"), "mostly the largest, once the smallest: not widened")
CLAIMS = (
    headline("kd_nd", "kd", "norm and direction beat kd"),
    ablation("kd_nd", "kd_direction", "norm and direction beat direction alone"),
    ablation("kd_nd", "kd_norm", "norm and direction beat norm alone"),
    premise("kd", "ce", "kd beats ce"),
    # The teacher's features are 26 long.
    premise("kd_nd", "kd", "norm and direction lengthen the features", metric="feature_norm", sesoi=1.0,
            name="longer_features"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"tasks": ("narrow",), "arms": ("kd", "kd_norm", "kd_nd"), "batch_size": 16, "log_every": 3,
           "eval_every": 6, "checkpoint_every": 6, "tasks.narrow.data.train": 100, "tasks.narrow.data.val": 20,
           "tasks.narrow.data.test": 20, "tasks.narrow.teacher.features": (16,),
           "tasks.narrow.teacher.steps": 6, "tasks.narrow.student.features": (8,),
           "tasks.narrow.student.steps": 6},
    tune={"minutes": 5.0, "seeds": 6}, long=("tasks.*.student.steps",),
)  # fmt: skip
