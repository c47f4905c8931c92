"""Plackett-Luce distillation (PLD) against the classical losses on logits: the digits, and classes in a hierarchy.

PLD: A Choice-Theoretic List-Wise Knowledge Distillation, 2025, arXiv 2506.12542 (NeurIPS 2025).

    python -m experiments.run --config=configs/distillation/pld.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/pld.py:tune     # the search behind ARMS

Digits: scikit-learn's 1,797 images, an 8-unit student. Hierarchy: twenty procedural classes in five groups, a 16-unit
student. One split of each for all seeds. `:fashion` is the same on Fashion-MNIST with the settings of the digits.
Other than in the paper: students and teachers are MLPs, the optimizer is AdamW with cosine decay; `:paper` has the
paper's section 5.1 on CIFAR-100, images of the user's (`--config.tasks.cifar100.data.path=cifar100.npz`).
"""

from configs._comparison import TUNE, TWO_VALUES, comparison, grid, headline, premise, secondary

MLP = {"kind": "mlp", "features": (256, 256), "learning_rate": 1e-3, "weight_decay": 1e-4}

BASE = {
    "experiment": "distillation.train_student",
    "paper": "PLD: A Choice-Theoretic List-Wise Knowledge Distillation (2025, arXiv 2506.12542)",
    "scale": "toy (MLPs of 8 and 16 units; digits, procedural classes)",
    "seeds": 10,
    "eval_every": 300, "checkpoint_every": 300,
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {
        "digits": {
            "data": {"source": "digits", "split_seed": 0},
            "teacher": MLP | {"steps": 900},
            "student": {"kind": "mlp", "features": (8,), "steps": 1500},
        },
        "hierarchy": {
            "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 5000,
                     "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
            "teacher": MLP | {"steps": 1500},
            "student": {"kind": "mlp", "features": (16,), "steps": 1500},
        },
    },
}  # fmt: skip
ARM = {"ce_weight": 0.0, "weight": 1.0, "learning_rate": 1e-3, "weight_decay": 1e-4, "options": {}}
METHODS = {name: {"method": name} for name in ("ce", "kd", "dist", "listmle", "pld")} | {
    "dkd": {"method": "dkd", "ce_weight": 1.0, "options": {"alpha": 1.0}},
}
ARMS = {
    "digits": {
        "ce": {"learning_rate": 3e-3, "weight_decay": 1e-4},
        "kd": {"learning_rate": 1e-2, "ce_weight": 0.1, "weight": 0.9, "options.temperature": 4.0},
        "dkd": {"learning_rate": 3e-3, "options.beta": 1.0, "options.temperature": 2.0},
        "dist": {"learning_rate": 1e-2, "ce_weight": 1.0, "options": {"beta": 2.0, "gamma": 2.0}},
        "listmle": {"learning_rate": 3e-3, "weight_decay": 1e-4},
        "pld": {"learning_rate": 3e-3, "options.temperature": 1.0},
    },
    "hierarchy": {
        "ce": {"learning_rate": 3e-3, "weight_decay": 1e-4},
        "kd": {"learning_rate": 1e-2, "ce_weight": 0.1, "weight": 0.9, "options.temperature": 4.0},
        "dkd": {"learning_rate": 1e-2, "options.beta": 1.0, "options.temperature": 2.0},
        "dist": {"learning_rate": 1e-2, "ce_weight": 0.1, "options": {"beta": 0.45, "gamma": 0.45}},
        "listmle": {"learning_rate": 3e-3, "weight_decay": 1e-4},
        "pld": {"learning_rate": 3e-3, "options.temperature": 1.0},
    },
}
ALONE = grid({"learning_rate": (1e-3, 3e-3, 1e-2), "weight_decay": (1e-4, 1e-2)})
GRID = {
    "ce": ALONE,
    "kd": grid({"learning_rate": (3e-3, 1e-2), ("ce_weight", "weight", "options.temperature"):
                ((0.5, 0.5, 2.0), (0.1, 0.9, 2.0), (0.1, 0.9, 4.0))}),
    "dkd": grid({"learning_rate": (3e-3, 1e-2), ("options.beta", "options.temperature"):
                 ((1.0, 2.0), (1.0, 4.0), (8.0, 4.0))}),
    "dist": grid({"learning_rate": (3e-3, 1e-2), ("ce_weight", "options.beta", "options.gamma"):
                  ((0.1, 0.45, 0.45), (1.0, 1.0, 1.0), (1.0, 2.0, 2.0))}),
    "listmle": ALONE,
    "pld": grid({"learning_rate": (3e-3, 1e-2), "options.temperature": (1.0, 2.0, 4.0)}),
}  # fmt: skip
EDGES = {
    "*": TWO_VALUES,
    "pld": "temperature 1 is the lowest: not widened",
    "dist": "three mixtures, of which either end won on a task",
}
CLAIMS = (headline("pld", "kd"), secondary("pld", "listmle"), premise("kd", "ce"))

FASHION = {
    "minutes": 8.0,
    "scale": "small, real (16-unit MLP, Fashion-MNIST)",
    "tasks": {
        "fashion": {
            "data": {
                "source": "fashion_mnist",
                "path": "",
                "split_seed": 0,
                "fractions": (5 / 6, 1 / 6, 0.0),
            },
            "teacher": MLP | {"steps": 3000},
            "student": {"kind": "mlp", "features": (16,), "steps": 3000},
            "arms": ARMS["digits"],
        },
    },
}
PAPER = {
    "scale": "paper", "minutes": 600.0, "seeds": 3, "seeds_by": "map", "batch_size": 128, "augment": "crop_flip",
    "log_every": 390, "eval_every": 3900, "checkpoint_every": 3900,
    "tasks": {
        "cifar100": {
            "data": {"source": "npz", "path": "", "split_seed": 0, "val_fraction": 0.1},
            "teacher": {"kind": "resnet", "features": (9, 9, 9), "steps": 97_656, "learning_rate": 1e-3,
                        "weight_decay": 0.5},
            "student": {"kind": "resnet", "features": (3, 3, 3), "steps": 97_656},
            "arms": {
                "ce": {},
                "kd": {"ce_weight": 0.1, "weight": 0.9, "options": {"temperature": 4.0}},
                "dkd": {"options.temperature": 4.0, "options.beta": 8.0},
                "dist": {"ce_weight": 0.1, "options": {"beta": 0.45, "gamma": 0.45}},
                "listmle": {},
                "pld": {"options": {"temperature": 4.0}},
            },
        },
    },
    "tasks.cifar100.arms.*.weight_decay": 0.5,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"tasks": ("digits",), "tasks.digits.student.steps": 20, "tasks.digits.teacher.steps": 20,
           "tasks.digits.teacher.features": (16,)},
    tune={"minutes": 12.0}, long=("tasks.*.student.steps",),
    variants={"fashion": FASHION, "fashion_tune": FASHION | TUNE | {"grid": GRID, "minutes": 20.0}, "paper": PAPER},
)  # fmt: skip
