"""Barlow Twins: representations without labels, by reducing redundancy between features.

Paper: Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021, arXiv 2103.03230.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "fashion", "fashion_tune", "paper")

ARM = {"method": "barlow_twins", "off_diagonal_weight": 0.0051, "width": 128, "batch_size": 256, "optimizer": "adamw",
       "learning_rate": 3e-3, "weight_decay": 1e-4, "probe_on": "features", "probe_decay": 1e-2}  # fmt: skip
ARMS = {
    "bt": {},
    "lambda0": {"off_diagonal_weight": 0.0},
    "batch32": {"batch_size": 32},
    "d32": {"width": 32},
    "d512": {"width": 512},
    "labels": {"method": "labels"},
    "random": {"method": "untrained"},
    "pixels": {"method": "untrained", "probe_on": "pixels"},
}


def get_config(variant: str | None = None) -> ConfigDict:
    config = ConfigDict({
        "experiment": "self_supervised.pretrain",
        "paper": "Barlow Twins: Self-Supervised Learning via Redundancy Reduction (2021, arXiv 2103.03230)",
        "scale": "toy",
        "minutes": 4.0,
        "seeds": 8,
        "first_seed": 0,
        "seeds_by": "map",
        "mesh": {"seed": 0, "data": 1, "model": 1},
        "log_every": 120,
        "eval_every": 120,
        "checkpoint_every": 600,
        "examples": 600 * 256,
        "warm_up": 0.1,
        "test": True,
        "labels_per_class": 10,
        "data": {"source": "factors", "train": 4000, "val": 1000, "test": 2000, "size": 16, "label": "label", "mean": 0.2, "spread": 0.25,
                 "options": {"size": 16, "shapes": ("disk", "square", "triangle", "cross"), "textures": ("plain", "stripes", "checks", "rings"),
                             "clutter": 0.5, "place": 0.2, "noise": 0.05}},
        "views": {"count": 2, "shift": 0.2, "rotate": 45.0, "scale": 0.2, "gain": 0.3, "noise": 0.1, "hole": 4},
        "net": {"kind": "convnet", "patch": 2, "features": (16, 32), "projector": (128,)},
        "probe": {"steps": 100, "learning_rate": 0.1, "neighbors": 5},
        "arms": {name: ARM | own for name, own in ARMS.items()},
        "claims": (),
    })
    return config
