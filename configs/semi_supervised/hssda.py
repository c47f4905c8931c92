"""HSSDA: two thresholds per class from the teacher's own scores, doubtful objects removed, quadrants shuffled.

Paper: Hierarchical Supervision and Shuffle Data Augmentation for 3D Semi-Supervised Object Detection, 2023, arXiv
2304.01464 (CVPR 2023).

    python -m experiments.run --config=configs/semi_supervised/hssda.py                  # 6 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/hssda.py:tune --publish   # the search behind CHOSEN

Task. Scenes of cars, pedestrians and cyclists as points seen from above, with clutter of the same extent; 20 of 400
scenes have boxes. A small convolutional detector is trained on them, then teacher and student learn from the other
380.

Arms: `supervised`, the labelled scenes alone (the floor); `fixed_30` to `fixed_90`, one threshold for all classes on
class score and objectness; `hssda`; `no_removal` and `no_shuffle`, without its removal of doubtful points and its
shuffled quadrants; `ceiling`, the true boxes of all scenes. Every arm had three learning rates and two seeds of its
own for tuning; none took the highest, and those that took the lowest differ from the middle one by less than 0.04.

Found (6 seeds, mAP at an IoU of 0.5 on test scenes): 0.167 with the labelled scenes alone, 0.192 with HSSDA, 0.396
with all labels. HSSDA beats the floor by +0.025 [+0.004, +0.045] and the fixed thresholds of 0.7 and 0.9; against 0.3,
the best of them, +0.006 [-0.027, +0.039] and against 0.5, +0.027 [-0.009, +0.064], decide nothing. Removal gives +0.018
[+0.009, +0.026], shuffling +0.019 [+0.004, +0.035]. Fixed thresholds of 0.7 and 0.9 end below the floor, likely
because unlabelled scenes then teach that nearly everything is background. The levels mean what they say: 85 % of the
boxes above the high threshold are right, 60 % of the middle ones and 16 % of the low ones. How sure: two runs before
this one, with other rounding and other rates for three arms, gave the same signs; but in them `no_shuffle` had the rate
of `hssda`, other than here, and shuffling was worth +0.019 [+0.000, +0.038] and +0.004 [-0.006, +0.014]: it may be
nothing. 600 steps leave all arms rising; the sizes are this task's; the difficulty of the scenes and the range of rates
were set on the tuning seeds, by validation, so that floor and ceiling are apart.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

TAUS = (0.3, 0.5, 0.7, 0.9)

_DUAL = {"pseudo": "dual", "removal": True, "shuffle": True}
_ARMS = {
    "supervised": {"pseudo": "none", "removal": False, "shuffle": False},
    **{
        f"fixed_{round(100 * tau)}": {"pseudo": "fixed", "threshold": tau, "removal": False, "shuffle": True}
        for tau in TAUS
    },
    "no_removal": _DUAL | {"removal": False},
    "no_shuffle": _DUAL | {"shuffle": False},
    "hssda": _DUAL,
    "ceiling": {"pseudo": "truth", "removal": False, "shuffle": False},
}

# Three settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
GRID = {
    name: [arm | {"learning_rate": rate} for rate in (8e-3, 1.6e-2, 3.2e-2)] for name, arm in _ARMS.items()
}

# The setting with the best mean validation mAP in `:tune`.
CHOSEN = {"supervised": 1, "fixed_30": 1, "fixed_50": 1, "fixed_70": 0, "fixed_90": 1, "no_removal": 1, "no_shuffle": 0,
          "hssda": 1, "ceiling": 1}  # fmt: skip


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke", "tune" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "semi_supervised.detect",
            "paper": "HSSDA: hierarchical supervision and shuffle data augmentation (2023, arXiv 2304.01464)",
            "scale": "toy (a small detector, procedural scenes)",
            "minutes": 6.0,
            "seeds": 6,
            "first_seed": 0,
            "seeds_by": "map",
            "mesh": {"seed": 0, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 200,
            "checkpoint_every": 600,
            "test": True,  # False keeps the test split out of the run
            "shown": "hssda",  # the arm of examples.png
            "data": {"task_seed": 0, "train": 400, "labelled": 20, "val": 200, "test": 200, "size": 32.0,
                     "difficulty": 0.3, "num_clusters": 4, "num_clutter": 128, "class_shares": (0.5, 0.25, 0.25)},
            "cells": 32,  # of the grid, on a side
            "detections": 12,  # boxes of a scene at most
            "net": {"channels": (12, 16, 16), "head": 16},
            "labelled_batch": 4,
            "unlabelled_batch": 6,
            "burn_in": {"steps": 300, "learning_rate": 1e-2},
            "steps": 600,
            "weight_decay": 1e-4,
            "keep_rate": 0.99,  # the teacher's decay rises from 0.5 to it in so many steps
            "keep_length": 100,
            "interval": 50,  # steps between new thresholds
            "pool": 512,  # boxes that they are measured on, the last ones
            "store": 12,  # labels of the high level that a scene can hold
            "arms": {name: _arm(**settings[CHOSEN[name]]) for name, settings in GRID.items()},
        }
    )  # fmt: skip
    # Of the fixed thresholds 0.5 was the best on the tuning seeds: the nearest rival of two per class.
    others = {"supervised": "secondary", "fixed_30": "benchmark", "fixed_50": "headline", "fixed_70": "benchmark",
              "fixed_90": "benchmark", "no_removal": "ablation", "no_shuffle": "ablation"}  # fmt: skip
    config.claims = tuple(
        {"name": f"hssda_over_{versus}", "text": f"hssda beats {versus}", "kind": kind, "metric": "test/map50",
         "arm": "hssda", "versus": versus}
        for versus, kind in others.items()
    )  # fmt: skip
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _arm(pseudo: str, *, removal: bool, shuffle: bool, learning_rate: float, threshold: float = 0.99) -> dict:
    """An arm: where pseudo-labels come from, whether doubtful points go and quadrants are shuffled."""
    return {"pseudo": pseudo, "threshold": threshold, "removal": removal, "shuffle": shuffle,
            "learning_rate": learning_rate}  # fmt: skip


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on two seeds of its own, judged by validation alone."""
    config.minutes = 6.0
    config.seeds, config.first_seed, config.test, config.claims = 2, 1000, False, ()
    config.arms = ConfigDict(
        {f"{name}_{n}": _arm(**setting) for name, grid in GRID.items() for n, setting in enumerate(grid)}
    )


def _smoke(config: ConfigDict) -> None:
    """Seconds: three arms, two seeds, a few steps."""
    config.minutes = 0.4
    config.seeds, config.mesh.seed = 2, 1
    config.log_every, config.eval_every, config.checkpoint_every = 3, 6, 6
    config.data.update({"train": 16, "labelled": 6, "val": 6, "test": 6})
    config.burn_in.steps, config.steps, config.interval = 6, 6, 2
    config.labelled_batch, config.unlabelled_batch, config.net.channels, config.net.head = 2, 2, (8, 8), 8
    for name in set(config.arms) - {"supervised", "fixed_30", "hssda"}:
        del config.arms[name]
    config.claims = tuple(claim for claim in config.claims if claim["versus"] in config.arms)


def _paper(config: ConfigDict) -> None:
    """The paper's proportions on a larger procedural task; not run.

    KITTI at 2 %: 74 labelled of 3,712 scenes, 80 epochs, EMA 0.9996 after 2,000 steps, thresholds every 5 epochs. The
    paper's detectors, PV-RCNN and Voxel-RCNN on real point clouds, are not part of this library.
    """
    config.scale = "the paper's proportions, procedural scenes"
    config.minutes = 900.0
    config.seeds, config.first_seed = 3, 0
    config.data.update({"train": 3712, "labelled": 74, "val": 1000, "test": 3769})
    config.net.update({"channels": (64, 128, 128, 128), "head": 128})
    config.labelled_batch, config.unlabelled_batch = 8, 8
    epoch = 3712 // 8
    config.burn_in.update({"steps": 80 * 74 // 8 * 10, "learning_rate": 1e-3})
    config.steps, config.interval, config.pool = 80 * epoch, 5 * epoch, 16_384
    config.keep_rate, config.keep_length = 0.9996, 2000
    config.log_every, config.eval_every, config.checkpoint_every = epoch, 5 * epoch, 5 * epoch
    for arm in config.arms.values():
        arm.learning_rate = 1e-3
