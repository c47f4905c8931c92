"""Dual-Head Knowledge Distillation (DHKD) against one head for both losses, on classes in a hierarchy.

Dual-Head Knowledge Distillation: Enhancing Logits Utilization with an Auxiliary Head, 2024, arXiv 2411.08937.

    python -m experiments.run --config=configs/distillation/dhkd.py         # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/dhkd.py:tune    # the search behind ARMS

Arms: cross-entropy (`ce`) and BinaryKL-Norm (`binary`), each on its only head; both on one head (`one_head`); on two
heads of which the auxiliary one is dropped after training (`two_heads`); the same with aligned gradients (`aligned`);
KD. The paper says that both losses on one head are worse than either alone, that the second head mends it, and that
the conflict sits in the classifier: `train/classifier_agreement` and `train/body_agreement` are the cosines of the two
gradients there and below, on average over training. `:map` asks for students of which width they conflict.
Other than in the paper: MLPs, twenty procedural classes of which every seed has its own; the auxiliary head is linear
(the authors' `head_features = (200,)` lacks dropout and batch normalisation here); AdamW with cosine decay. `:fashion`
is Fashion-MNIST at 14 x 14 with small ConvNets. The paper: CIFAR-100, ResNet-56 to ResNet-20, 240 epochs of batches of
64, SGD 0.05 with steps, weight 1, temperature 2 (KD: 4).
"""

from configs._comparison import TUNE, ablation, comparison, grid, headline, premise, room, secondary
from configs.distillation import _tasks as tasks

BASE = {
    "experiment": "distillation.train_student",
    "paper": "DHKD: Dual-Head Knowledge Distillation (2024, arXiv 2411.08937)",
    "scale": "toy (32-unit MLP, procedural classes)",
    "seeds": 16, "first_seed": 200,
    "log_every": 400, "eval_every": 800, "checkpoint_every": 2000,
    "batch_size": 64,
    "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
    "tasks": {"hierarchy": tasks.HIERARCHY},
}  # fmt: skip
ARM = {"heads": 1, "head_features": (), "align": False, "ce_weight": 0.0, "weight": 1.0,
       "learning_rate": 1e-2, "weight_decay": 1e-4}  # fmt: skip
BOTH = {"method": "dual_head", "loss": "binary_kl_norm", "ce_weight": 1.0, "options": {"temperature": 2.0}}
METHODS = {
    "ce": {"method": "ce", "options": {}},
    "binary": {"method": "binary_kl_norm", "options": {"temperature": 2.0}},
    "one_head": BOTH,
    "two_heads": BOTH | {"heads": 2},
    "aligned": BOTH | {"heads": 2, "align": True},
    "kd": {"method": "kd", "ce_weight": 0.1, "weight": 0.9, "options": {"temperature": 4.0}},
}
SETTINGS = {
    "ce": {"weight_decay": 1e-4},
    "binary": {"weight_decay": 1e-5},
    "one_head": {"weight": 0.03},
    "two_heads": {"weight": 0.003},
    "aligned": {"weight": 0.003},
    "kd": {"options.temperature": 2.0},
}
ARMS = {"hierarchy": SETTINGS}
RATES = {"learning_rate": (3e-3, 1e-2, 3e-2)}
ALONE = grid(RATES | {"weight_decay": (1e-5, 1e-4, 1e-3, 1e-2)})
WEIGHTED = grid(RATES | {"weight": (0.003, 0.01, 0.03, 0.1)})
GRID = {
    "ce": ALONE,
    "binary": ALONE,
    "one_head": WEIGHTED,
    "two_heads": WEIGHTED,
    "aligned": WEIGHTED,
    "kd": grid(RATES | {"options.temperature": (1.0, 2.0, 4.0, 8.0)}),
}
EDGES = {
    "binary": "no two decays differ by more than 0.003 at this rate",
    "weight": "0.1, 0.3 and 1 were tried before and are worse; below 0.003 the second loss is as good as absent",
}
GATES = {"needs": ("conflict", "room", "converged")}
CLAIMS = (
    headline("two_heads", "one_head", "two heads beat one", **GATES),
    secondary("ce", "one_head", "cross-entropy alone beats both losses on one head", **GATES),
    secondary("two_heads", "kd", "two heads beat kd", needs=GATES["needs"][1:]),
    ablation("aligned", "two_heads", "aligned gradients beat their plain sum", **GATES),
    premise("one_head", 0, "the gradients conflict in the classifier", name="conflict", lower_is_better=True,
            metric="train/classifier_agreement", sesoi=0.05),
    room("teacher", "one_head", "one head leaves room", name="room", sesoi=0.02),
    premise("two_heads", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
FASHION = tasks.FASHION | {"tasks": {"fashion": tasks.FASHION_TASK | {"arms": SETTINGS}}}
WIDTHS = {width: (width,) for width in (4, 8, 16, 32, 64, 128)}

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("binary", "one_head", "two_heads", "aligned"), "batch_size": 16,
           "log_every": 3, "eval_every": 6, "checkpoint_every": 6, "tasks.hierarchy.teacher.steps": 6,
           "tasks.hierarchy.teacher.features": (16,), "tasks.hierarchy.student.steps": 6,
           "tasks.hierarchy.student.features": (8,), "tasks.hierarchy.data": tasks.HIERARCHY_DATA | {
               "train": 100, "val": 40, "test": 40}},
    tune={"minutes": 5.0}, long=("tasks.*.student.steps",),
    map=("hidden units of the student", "tasks.hierarchy.student.features", WIDTHS),
    variants={"fashion": FASHION,
              "fashion_tune": FASHION | TUNE | {"grid": GRID, "tasks.fashion.data.part": "tuning", "minutes": 30.0}},
)  # fmt: skip
