"""EV-WSSS: segmentation for event cameras from one click per class, by two students of complementary streams.

Finding Meaning in Points: Weakly Supervised Semantic Segmentation for Event Cameras, 2024, arXiv 2407.11216 (ECCV
2024).

    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py               # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py:ablations     # prototypes one by one
    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py:tune          # the search behind ARMS

Striped disks, squares, triangles and bars drift over a turning background; an event camera reports changes of log
intensity. Every seed has its own scenes and clicks: one labelled pixel per class in a training scene. Student A sees
the events before the label's moment, student B those of five times as long after it, reversed; A is tested. Both are
trained in every arm, so the arms cost the same. Arms: `point`, the clicks alone (the floor); `symmetric`, mutual
pseudo-labels of two students of the same stream (the control); `dual`, of the forward and the reversed one;
`prototypes`, each student's own class prototypes besides; `ev_wsss`, also their exchange and the distillation of
features; `dense`, all pixels labelled (the ceiling).
Other than in the paper: simulated scenes for DSEC's, and small U-Nets on voxel grids without its ConvLSTM over twenty
chunks. The paper: 640 x 440 pixels, RAdam 5e-4 with b1 0, batch 1, 50 epochs.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "semi_supervised.segment",
    "paper": "EV-WSSS: Finding Meaning in Points (2024, arXiv 2407.11216)",
    "scale": "toy (small convolutional nets, a simulated event camera)",
    "minutes": 4.0, "seeds": 12, "first_seed": 200, "seeds_by": "map",
    "shown": "ev_wsss",  # the arm whose pseudo-labels the figure shows
    "log_every": 100, "eval_every": 300, "checkpoint_every": 1500,
    "steps": 1500,
    "batch_size": 8,
    "momentum": 0.9,  # b1 of RAdam
    "scale_decay": 0.99,  # its b2; at 0.999 its warm-up alone would take most of the steps
    "task": {
        "source": "event_scenes", "train": 300, "val": 100, "test": 500,
        "options": {"size": 16, "num_shapes": 2, "bins": 4, "frames": 8, "backward_factor": 5},
    },
    "net": {"channels": (8, 16), "num_groups": 0, "depth": 1},
    "maps": (0, 1),  # stages whose features are distilled; the last one's make the prototypes
    "memory": 200,  # prototypes that the queue of a class holds
    "min_items": 10,
    "min_mass": 5.0,
    "start": 0.2,  # share of the steps after which prototypes and distillation begin
    "arms": ("point", "symmetric", "dual", "ev_wsss", "dense"),
}  # fmt: skip
ARM = {"method": "clicks", "dual_weight": None, "prototype_weight": None, "distillation_weight": None,
       "exchanged": True, "reversed_stream": True, "authors_code": False, "threshold": 0.5, "region_threshold": 0.7,
       "weight_decay": 0.0}  # fmt: skip
METHODS = {
    "point": {},
    "symmetric": {"dual_weight": 0.5, "reversed_stream": False},
    "dual": {"dual_weight": 0.5},
    "prototypes": {"dual_weight": 0.5, "prototype_weight": 0.5, "exchanged": False},
    "ev_wsss": {"dual_weight": 0.5, "prototype_weight": 0.5, "distillation_weight": 1.0},
    "dense": {"method": "all_labels"},
}
SURE = {"learning_rate": 1e-2, "threshold": 0.7}
ARMS = {
    "point": {"learning_rate": 1e-2, "weight_decay": 1e-3},
    **dict.fromkeys(("symmetric", "dual", "prototypes", "ev_wsss"), SURE),
    "dense": {"learning_rate": 1e-2, "weight_decay": 1e-3},
}
RATES = {"learning_rate": (3e-3, 1e-2, 3e-2)}
ALONE, MUTUAL = (
    grid(RATES | {"weight_decay": (0.0, 1e-3, 1e-2)}),
    grid(RATES | {"threshold": (0.5, 0.7, 0.9)}),
)
GRID = {"point": ALONE, **dict.fromkeys(("symmetric", "dual", "ev_wsss"), MUTUAL), "dense": ALONE}
APART = {"needs": ("believed", "converged")}  # also where no ceiling is
GATES = {"needs": ("believed", "room", "converged")}
CLAIMS = (
    headline("ev_wsss", "point", source="abstract", **GATES),
    secondary("dual", "symmetric", "complementary streams teach more than two copies of one",
              needs=("apart", *GATES["needs"])),
    secondary("dual", "point", **GATES),
    secondary("ev_wsss", "dual", **GATES),
    ablation("prototypes", "dual", **APART),
    ablation("ev_wsss", "prototypes", **APART),
    room("dense", "ev_wsss", "ev_wsss leaves room", name="room", sesoi=0.02),
    premise("ev_wsss", 0, "pseudo-labels are believed somewhere", name="believed", metric="train/pseudo_coverage",
            sesoi=0.05),
    premise("dual", "symmetric", "students of complementary streams differ more", name="apart",
            metric="train/disagreement"),
    premise("ev_wsss", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/miou", arm=ARM, methods=METHODS,
    smoke={"arms": ("point", "ev_wsss", "dense"), "minutes": 0.5, "log_every": 4, "eval_every": 4,
           "checkpoint_every": 8, "steps": 8, "batch_size": 2, "memory": 8, "min_items": 1, "min_mass": 1.0,
           "start": 0.0, "net.channels": (4, 6), "task.train": 8, "task.val": 4, "task.test": 4,
           "task.options": {"size": 16, "num_shapes": 2, "bins": 3, "frames": 3, "backward_factor": 2}},
    tune={"minutes": 8.0}, long=("steps",),
    variants={"ablations": {"arms": ("dual", "prototypes", "ev_wsss"), "minutes": 3.0}},
)  # fmt: skip
