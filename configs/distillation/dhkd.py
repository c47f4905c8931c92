"""Dual-Head Knowledge Distillation (DHKD) against one head for both losses: few digits, and classes in a hierarchy.

Dual-Head Knowledge Distillation: Enhancing Logits Utilization with an Auxiliary Head, 2024, arXiv 2411.08937.

    python -m experiments.run --config=configs/distillation/dhkd.py         # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/dhkd.py:tune    # the search behind ARMS

Arms: cross-entropy (`ce`) and BinaryKL-Norm (`binary`), each on its only head; both on one head (`one_head`); on two
heads of which the auxiliary one is dropped after training (`two_heads`); the same with aligned gradients (`aligned`);
KD. The paper says that both losses on one head are worse than either alone, that the second head mends it, and that
the conflict sits in the classifier: `classifier_agreement` and `body_agreement` in metrics.jsonl are the cosines of
the two gradients there and below.
Other than in the paper: MLPs on 300 digits and on twenty procedural classes; the auxiliary head is linear (the
authors' `head_features = (200,)` lacks dropout and batch normalisation here); AdamW with cosine decay. The paper:
CIFAR-100, ResNet-56 to ResNet-20, 240 epochs of batches of 64, SGD 0.05 with steps, weight 1, temperature 2 (KD: 4).
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, secondary

MLP = {"kind": "mlp", "features": (256, 256), "learning_rate": 1e-3, "weight_decay": 1e-4}
BASE = {
    "experiment": "distillation.train_student",
    "paper": "DHKD: Dual-Head Knowledge Distillation (2024, arXiv 2411.08937)",
    "scale": "toy (MLPs of 16 and 32 units; digits, procedural classes)",
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {
        "digits": {
            "data": {"source": "digits", "split_seed": 0, "train_examples": 300},
            "teacher": MLP | {"steps": 600},
            "student": {"kind": "mlp", "features": (16,), "steps": 1000},
        },
        "hierarchy": {
            "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 4000,
                     "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
            "teacher": MLP | {"steps": 1500},
            "student": {"kind": "mlp", "features": (32,), "steps": 1000},
        },
    },
}  # fmt: skip
ARM = {"heads": 1, "head_features": (), "align": False, "ce_weight": 0.0, "weight": 1.0,
       "weight_decay": 1e-4}  # fmt: skip
BOTH = {"method": "dual_head", "loss": "binary_kl_norm", "ce_weight": 1.0, "options": {"temperature": 2.0}}
METHODS = {
    "ce": {"method": "ce", "options": {}},
    "binary": {"method": "binary_kl_norm", "options": {"temperature": 2.0}},
    "one_head": BOTH,
    "two_heads": BOTH | {"heads": 2},
    "aligned": BOTH | {"heads": 2, "align": True},
    "kd": {"method": "kd", "options": {"temperature": 4.0}},
}
ARMS = {
    "digits": {
        "ce": {"learning_rate": 1e-2},
        "binary": {"learning_rate": 1e-2},
        "one_head": {"learning_rate": 3e-3, "weight": 0.1},
        "two_heads": {"learning_rate": 3e-3, "weight": 0.1},
        "aligned": {"learning_rate": 3e-3, "weight": 0.1},
        "kd": {"learning_rate": 3e-3, "ce_weight": 0.1, "weight": 0.9},
    },
    "hierarchy": {
        "ce": {"learning_rate": 1e-2},
        "binary": {"learning_rate": 3e-2},
        "one_head": {"learning_rate": 1e-2, "weight": 0.1},
        "two_heads": {"learning_rate": 1e-2, "weight": 0.1},
        "aligned": {"learning_rate": 1e-2, "weight": 0.1},
        "kd": {"learning_rate": 1e-2, "ce_weight": 0.1, "weight": 0.9},
    },
}
ALONE = grid({"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2)})
WEIGHTED = grid({"learning_rate": (3e-3, 1e-2), "weight": (0.1, 0.5)})
GRID = {
    "ce": ALONE,
    "binary": ALONE,
    "one_head": WEIGHTED,
    "two_heads": WEIGHTED,
    "aligned": WEIGHTED,
    "kd": grid({"learning_rate": (3e-3, 1e-2), ("ce_weight", "weight"): ((0.5, 0.5), (0.1, 0.9))}),
}
EDGES = {"*": TWO_VALUES, "binary": "3e-2 is the highest rate, best on the hierarchy: not widened"}
CLAIMS = (
    headline("two_heads", "one_head", "two heads beat one"),
    secondary("ce", "one_head", "cross-entropy alone beats both losses on one head"),
    secondary("binary", "one_head", "BinaryKL-Norm alone beats both losses on one head"),
    ablation("aligned", "two_heads", "aligned gradients beat their plain sum"),
    ablation("two_heads", "ce", "two heads beat cross-entropy"),
    secondary("two_heads", "kd", "two heads beat kd"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"tasks": ("digits",), "arms": ("binary", "one_head", "two_heads", "aligned"), "batch_size": 16,
           "log_every": 3, "eval_every": 6, "checkpoint_every": 6, "tasks.digits.teacher.steps": 6,
           "tasks.digits.teacher.features": (16,), "tasks.digits.student.steps": 6,
           "tasks.digits.student.features": (8,)},
    tune={"minutes": 5.0, "seeds": 6}, long=("tasks.*.student.steps",),
)  # fmt: skip
