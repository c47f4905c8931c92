"""RAIL: segmentation from a few labelled scans, learning where students disagree.

RAIL: Region-Aware Instructive Learning for Semi-Supervised Tooth Segmentation in CBCT, 2025, arXiv 2505.03538.

    python -m experiments.run --config=configs/semi_supervised/rail.py              # about 6 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/rail.py:ablations    # without one of its parts
    python -m experiments.run --config=configs/semi_supervised/rail.py:code         # as the authors' code has it
    python -m experiments.run --config=configs/semi_supervised/rail.py:tune         # the search behind ARMS

Slices of procedural volumes: a curved row of touching blobs, blurred, in grey structure of nearly the same brightness,
with lone spots that do not belong to it; scans differ in gain, blur and noise. Three slices are labelled. All arms
train the same four students (two architectures, two groups that take turns) for as many steps and predict by the mean
of the four, so none wins by its ensemble. Arms: `supervised`, the labelled slices alone (the floor); `mean_teacher`,
each student follows its own slow average; `cross`, cross pseudo supervision within a group; `rail`, the whole method;
`no_dfs` and `no_cal`, without its supervision of disagreement and without its restraint; `rail_code`, with the faults
of the authors' masks, KL term and double softmax; `full`, every slice labelled (the ceiling). `:volumes` is the same
on whole volumes, about twenty times the work, never run.
Other than in the paper: procedural slices for CBCT scans, predicted whole and not by a sliding window; small U-Nets
with Adam. The paper: 13 of 120 volumes of 112 x 112 x 80 labelled, SGD 0.01, 16,000 steps, turns of 120.
"""

from configs._comparison import ablation, comparison, grid, headline, room, secondary

BASE = {
    "experiment": "semi_supervised.segment",
    "paper": "RAIL: Region-Aware Instructive Learning (2025, arXiv 2505.03538)",
    "scale": "toy (small U-Nets, procedural slices)",
    "minutes": 6.0, "seeds": 6, "seeds_by": "map",
    "shown": "rail",  # the arm whose pseudo-labels the figure shows
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "steps": 400,
    "batch_size": 4,  # labelled, and as many unlabelled
    "period": 1,  # steps of a group's turn
    "start": 0.05,  # share of the steps after which the students look at each other
    "ema_decay": 0.99,
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 4e-4,
    "input_noise": 0.05,
    "task": {
        "source": "blob_volumes",
        "data_seed": 0,
        "dims": 2,  # 2 takes the middle slice of each volume
        "labelled": 3, "unlabelled": 100, "val": 60, "test": 200,
        "options": {"size": (24, 24, 12), "contrast": 0.35, "clutter": 0.07, "noise": 0.05, "variation": 1.0},
    },
    "net": {"channels": (8, 16, 32), "num_groups": 0, "depth": 1},
    "arms": ("supervised", "mean_teacher", "cross", "rail", "full"),
}  # fmt: skip
ARM = {
    "mse_weight": 0.0,
    "kl_weight": 0.0,
    "restraint_weight": 0.0,
    "consistency_weight": 0.0,
    "teacher_weight": 0.0,
    "mean_teacher_weight": None,
    "cross_weight": None,
    "all_labels": False,
    "instructive": False,
    "authors_code": False,
    "ramp": 0.4,
}
NO_DFS = {"instructive": True, "restraint_weight": 0.1}
NO_CAL = {"instructive": True, "mse_weight": 0.5, "kl_weight": 0.05}
METHODS = {
    "supervised": {},
    "mean_teacher": {},
    "cross": {},
    "rail": NO_DFS | NO_CAL,
    "no_dfs": NO_DFS,
    "no_cal": NO_CAL,
    "rail_code": NO_DFS | NO_CAL | {"authors_code": True},
    "full": {"all_labels": True},
}
RAIL = {"learning_rate": 1e-3, "consistency_weight": 5.0, "teacher_weight": 2.5}
ARMS = {
    "supervised": {"learning_rate": 3e-4},
    "mean_teacher": {"learning_rate": 3e-3, "mean_teacher_weight": 5.0},
    "cross": {"learning_rate": 3e-4, "cross_weight": 0.1},
    "rail": RAIL,
    "no_dfs": {"learning_rate": 3e-3, "consistency_weight": 5.0, "teacher_weight": 2.5},
    "no_cal": {"learning_rate": 3e-3, "consistency_weight": 5.0, "teacher_weight": 2.5},
    "rail_code": RAIL,
    "full": {"learning_rate": 1e-2},
}
INSTRUCTIVE = grid({("learning_rate", "consistency_weight", "teacher_weight"): (
    (3e-3, 20.0, 10.0), (3e-3, 5.0, 2.5), (3e-3, 1.0, 0.5), (1e-3, 5.0, 2.5), (3e-4, 5.0, 2.5))})  # fmt: skip
GRID = {
    "supervised": grid({"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}),
    "mean_teacher": grid({("learning_rate", "mean_teacher_weight"):
                          ((3e-3, 1.0), (3e-3, 5.0), (3e-3, 25.0), (1e-3, 5.0), (3e-4, 5.0))}),
    "cross": grid({("learning_rate", "cross_weight"):
                   ((3e-3, 0.1), (3e-3, 0.5), (3e-3, 1.5), (1e-3, 0.1), (3e-4, 0.1))}),
    "rail": INSTRUCTIVE,
    "no_dfs": INSTRUCTIVE,
    "no_cal": INSTRUCTIVE,
    "full": grid({"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)}),
}  # fmt: skip
EDGES = {
    "cross": "the lowest rate and the smallest weight: not widened",
    "learning_rate": "3e-3 is the highest beside a weight: not widened",
}
CLAIMS = (
    headline("rail", "supervised"),
    headline("rail", "mean_teacher"),
    secondary("rail", "cross"),
    ablation("rail", "no_dfs"),
    ablation("rail", "no_cal"),
    ablation("rail", "rail_code"),
    room("full", "rail"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/dice", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "rail", "full"), "minutes": 0.5, "log_every": 4, "eval_every": 4,
           "checkpoint_every": 8, "steps": 8, "batch_size": 2, "net.channels": (4, 6), "task.labelled": 3,
           "task.unlabelled": 6, "task.val": 4, "task.test": 4, "task.options.size": (16, 16, 8)},
    tune={"minutes": 10.0, "seeds": 2}, long=("steps",),
    variants={
        "ablations": {"arms": ("rail", "no_dfs", "no_cal"), "minutes": 4.0},
        "code": {"arms": ("rail", "rail_code"), "minutes": 3.0},
        "volumes": {"arms": tuple(GRID), "minutes": 120.0, "task.dims": 3, "task.options.size": (16, 16, 16)},
    },
)  # fmt: skip
