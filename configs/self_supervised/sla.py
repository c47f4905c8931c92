"""SLA: a classifier that also says how an image is turned, by one softmax over both, and what its copies add.

Self-supervised Label Augmentation via Input Transformations, 2020, arXiv 1910.05872 (ICML 2020).

    python -m experiments.run --config=configs/self_supervised/sla.py         # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/sla.py:tune    # the search behind ARMS

Handwritten digits of 8 x 8 pixels, twenty labels of each class. Every arm passes 128 images a step through the net:
`baseline` 128 views, the others 32 in four quarter turns. `da` gives every turn the label of its image; `sla` predicts
class and turn together; `sla_sd` has a second head that learns from the aggregate of the turns. `accuracy` takes one
pass of an image, `accuracy_by_four` four: the aggregate of `sla`, the mean over turns of `da`, over the image and three
views of it of `baseline` (to which turned images are strange). Each seed has its own labels; the 628 test digits are
always the same.
`:fashion` is the same on Fashion-MNIST at 14 x 14, with its own test file.
Other than in the paper: small images in the place of CIFAR, AdamW in the place of SGD, no batch norm.
"""

from configs._comparison import (
    TUNE,
    TWO_VALUES,
    ablation,
    comparison,
    grid,
    headline,
    premise,
    room,
    secondary,
)

BASE = {
    "experiment": "self_supervised.augment_labels",
    "paper": "Self-supervised Label Augmentation via Input Transformations (2020, arXiv 1910.05872)",
    "scale": "small, real (two convolutions, digits)", "minutes": 2.0, "seeds": 16, "seeds_by": "map",
    "log_every": 40, "eval_every": 80, "checkpoint_every": 400,
    "steps": 800, "batch_size": 32, "labels_per_class": 20,
    "data": {"source": "digits", "path": "", "split_seed": 0, "part": "rest", "val": 200},
    "views": {"shift": 0.1, "rotate": 10.0, "scale": 0.1},
    "net": {"kind": "convnet", "features": (16, 32)},
}  # fmt: skip
ARM = {"method": "plain", "learning_rate": 3e-3, "weight_decay": 1e-3}
METHODS = {
    "baseline": {}, "da": {"method": "invariant"}, "sla": {"method": "joint", "distillation_weight": None},
    "sla_sd": {"method": "joint", "distillation_weight": 1.0},
}  # fmt: skip
ARMS = {
    "baseline": {"learning_rate": 1e-2, "weight_decay": 1e-3},
    "da": {"learning_rate": 1e-2, "weight_decay": 0.1}, "sla": {"learning_rate": 1e-2, "weight_decay": 0.1},
    "sla_sd": {"learning_rate": 3e-3, "weight_decay": 1e-3},
}  # fmt: skip
GRID = {
    name: grid({"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2), "weight_decay": (1e-3, 1e-1)}) for name in METHODS
}
JUDGE = "val/accuracy"
EDGES = {"weight_decay": TWO_VALUES}
BY_FOUR, GATES = {"metric": "accuracy_by_four"}, {"needs": ("room", "converged")}
CLAIMS = (
    headline("sla", "baseline", "joint labels, aggregated over four turns, beat four passes of a plain net", **BY_FOUR,
             **GATES, source="table 2"),
    headline("sla_sd", "baseline", "self-distilled, they beat a plain net in one pass", **GATES, source="table 3"),
    secondary("baseline", "da", "being told to ignore turns is worse than a plain net", **GATES, source="table 2"),
    secondary("sla", "da", "ensemble against ensemble, joint labels beat invariance", **BY_FOUR, **GATES),
    ablation("sla_sd", "sla", "the second head is better than the joint one in one pass", **GATES),
    room(1.0, "baseline", "a plain net leaves room", name="room", sesoi=0.02),
    premise("sla", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.01),
)  # fmt: skip

FASHION = {
    "scale": "small, real (two convolutions, Fashion-MNIST at 14 x 14)", "minutes": 8.0,
    "data": BASE["data"] | {"source": "fashion_mnist", "val": 1000},
}  # fmt: skip
SEARCH = TUNE | {"grid": GRID, "data.part": "tuning"}

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"steps": 20, "batch_size": 8, "labels_per_class": 3, "net.features": (4, 8)},
    tune={"data.part": "tuning", "minutes": 6.0}, long=("steps",),
    variants={"fashion": FASHION, "fashion_tune": FASHION | SEARCH},
)  # fmt: skip
