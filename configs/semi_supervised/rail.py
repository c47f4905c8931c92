"""RAIL: segmentation from a few labelled scans, learning where students disagree.

RAIL: Region-Aware Instructive Learning for Semi-Supervised Tooth Segmentation in CBCT, 2025, arXiv 2505.03538.

    python -m experiments.run --config=configs/semi_supervised/rail.py              # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/rail.py:ablations    # without one of its parts
    python -m experiments.run --config=configs/semi_supervised/rail.py:tune         # the search behind ARMS

Slices of procedural volumes: a curved row of touching blobs, blurred, in grey structure of nearly the same brightness,
with lone spots that do not belong to it; scans differ in gain, blur and noise. Every seed has its own slices, three of
them labelled. All arms train the same four students (two architectures, two groups that take turns) for as many steps
and predict by the mean of the four, so none wins by its ensemble. Arms: `supervised`, the labelled slices alone (the
floor); `mean_teacher`, each student follows its own slow average; `cross`, cross pseudo supervision within a group;
`rail`, the whole method; `released`, with the second softmax of the authors' code in its restraint; `full`, every slice
labelled (the ceiling). `:ablations`: `no_dfs` and `no_cal`, without its supervision of disagreement and without its
restraint; `code`, with the faults of the authors' error mask and KL term besides. `:volumes` is the same on whole
volumes, about twenty times the work, never run.
Other than in the paper: procedural slices for CBCT scans, predicted whole and not by a sliding window; small U-Nets
with Adam. The paper: 13 of 120 volumes of 112 x 112 x 80 labelled, SGD 0.01, 16,000 steps, turns of 120.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "semi_supervised.segment",
    "paper": "RAIL: Region-Aware Instructive Learning (2025, arXiv 2505.03538)",
    "scale": "toy (small U-Nets, procedural slices)",
    "minutes": 4.0, "seeds": 16, "first_seed": 300, "seeds_by": "map",
    "shown": "rail",  # the arm whose pseudo-labels the figure shows
    "log_every": 100, "eval_every": 300, "checkpoint_every": 1500,
    "steps": 1500,
    "batch_size": 4,  # labelled, and as many unlabelled
    "period": 1,  # steps of a group's turn
    "start": 0.05,  # share of the steps after which the students look at each other
    "ema_decay": 0.99,
    "optimizer": "adam", "momentum": 0.9,
    "input_noise": 0.05,
    "task": {
        "source": "blob_volumes", "dims": 2,  # 2 takes the middle slice of each volume
        "labelled": 3, "train": 103, "val": 100, "test": 1000,
        "options": {"size": (16, 16, 8), "contrast": 0.35, "clutter": 0.07, "noise": 0.05, "variation": 1.0},
    },
    "net": {"channels": (8, 16), "num_groups": 0, "depth": 1},
    "arms": ("supervised", "mean_teacher", "cross", "rail", "released", "full"),
    "open_edges": ("cross: weight", "full: learning_rate"),
}  # fmt: skip
ARM = {"weight_decay": 1e-3, "ramp": 0.4}
RAIL = {"method": "rail", "mse_weight": 0.5, "kl_weight": 0.05, "restraint_weight": 0.1, "authors_code": False,
        "kl_mode": "class", "error_mask": "class"}  # fmt: skip
METHODS = {
    "supervised": {"method": "labels"}, "mean_teacher": {"method": "mean_teacher"}, "cross": {"method": "cross"},
    "rail": RAIL,
    "released": RAIL | {"authors_code": True},
    "code": RAIL | {"authors_code": True, "kl_mode": "code", "error_mask": "code"},
    "no_dfs": RAIL | {"mse_weight": 0.0, "kl_weight": 0.0},
    "no_cal": RAIL | {"restraint_weight": 0.0},
    "full": {"method": "all_labels"},
}  # fmt: skip
TUNED = {"learning_rate": 3e-3, "weight": 1.0}
ARMS = {
    "supervised": {"learning_rate": 1e-3},
    "mean_teacher": {"learning_rate": 3e-3, "weight": 25.0},
    "cross": {"learning_rate": 1e-3, "weight": 0.02},
    **dict.fromkeys(("rail", "released", "code", "no_dfs", "no_cal"), TUNED),
    "full": {"learning_rate": 3e-2},
}
RATES, SLOW = {"learning_rate": (1e-3, 3e-3, 1e-2)}, {"learning_rate": (3e-4, 1e-3, 3e-3)}
DECAYS = {"weight_decay": (1e-4, 1e-3, 1e-2)}
GRID = {
    "supervised": grid(SLOW | DECAYS), "full": grid({"learning_rate": (3e-3, 1e-2, 3e-2)} | DECAYS),
    "cross": grid(SLOW | {"weight": (0.02, 0.1, 0.5)}), "mean_teacher": grid(RATES | {"weight": (5.0, 25.0, 125.0)}),
    **dict.fromkeys(("rail", "released"), grid(RATES | {"weight": (0.2, 1.0, 5.0)})),
}  # fmt: skip
EDGES = {
    "cross": "smaller weights come near to learning from the labels alone, an arm of its own",
    "full": "0.03 is the largest rate: the ceiling is far above as it is, not widened",
}
APART = {"needs": ("disagree", "converged")}  # also where no ceiling is
GATES = {"needs": ("disagree", "room", "converged")}
CLAIMS = (
    headline("rail", "mean_teacher", source="abstract", **GATES),
    headline("rail", "supervised", source="abstract", **GATES),
    secondary("rail", "cross", **GATES),
    secondary("rail", "released", "restraint to uniform beats the released form", **GATES),
    ablation("rail", "code", **APART),
    ablation("rail", "no_dfs", **APART),
    ablation("rail", "no_cal", **APART),
    premise("rail", 0, "students disagree somewhere", name="disagree", metric="train/disagreement"),
    room("full", "rail", "rail leaves room", name="room", sesoi=0.02),
    premise("rail", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/dice", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "rail", "full"), "minutes": 0.5, "log_every": 4, "eval_every": 4,
           "checkpoint_every": 8, "steps": 8, "batch_size": 2, "net.channels": (4, 6), "task.labelled": 3,
           "task.train": 9, "task.val": 4, "task.test": 4},
    tune={"minutes": 8.0}, long=("steps",),
    variants={
        "ablations": {"arms": ("rail", "code", "no_dfs", "no_cal"), "minutes": 3.0},
        "volumes": {"arms": tuple(GRID), "minutes": 120.0, "task.dims": 3, "task.options.size": (16, 16, 16)},
    },
)  # fmt: skip
