"""EV-WSSS: segmentation for event cameras from one click per class, by two students of complementary streams.

Finding Meaning in Points: Weakly Supervised Semantic Segmentation for Event Cameras, 2024, arXiv 2407.11216 (ECCV
2024).

    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py               # about 6 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py:ablations     # prototypes one by one
    python -m experiments.run --config=configs/semi_supervised/ev_wsss.py:tune          # the search behind ARMS

Striped disks, squares, triangles and bars drift over a turning background; an event camera reports changes of log
intensity. Every training scene has one labelled pixel per class in it. Student A sees the events before the label's
moment, student B those of five times as long after it, reversed; A is tested. Both are trained in every arm, so the
arms cost the same. Arms: `point`, the clicks alone (the floor); `symmetric`, mutual pseudo-labels of two students of
the same stream (the control); `dual`, of the forward and the reversed one; `prototypes`, each student's own class
prototypes besides; `ev_wsss`, also their exchange and the distillation of features; `dense`, all pixels labelled (the
ceiling). What the paper calls "at least as good" is put as "beats".
Other than in the paper: simulated scenes for DSEC's, and small U-Nets on voxel grids without its ConvLSTM over twenty
chunks. The paper: 640 x 440 pixels, RAdam 5e-4 with b1 0, batch 1, 50 epochs.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, room, secondary

BASE = {
    "experiment": "semi_supervised.segment",
    "paper": "EV-WSSS: Finding Meaning in Points (2024, arXiv 2407.11216)",
    "scale": "toy (small convolutional nets, a simulated event camera)",
    "minutes": 6.0, "seeds": 6, "seeds_by": "map",
    "shown": "ev_wsss",  # the arm whose pseudo-labels the figure shows
    "log_every": 90, "eval_every": 270, "checkpoint_every": 270,
    "steps": 540,
    "batch_size": 8,
    "momentum": 0.9,  # b1 of RAdam
    "scale_decay": 0.99,  # its b2; at 0.999 its warm-up alone would take most of the steps
    "task": {
        "source": "event_scenes", "data_seed": 0, "train": 300, "val": 60, "test": 150,
        "options": {"size": 24, "num_shapes": 3, "bins": 5, "frames": 10, "backward_factor": 5},
    },
    "net": {"channels": (8, 16, 32), "num_groups": 0, "depth": 1},
    "maps": (1, 2),  # stages whose features are distilled; the last one's make the prototypes
    "memory": 200,  # prototypes that the queue of a class holds
    "min_items": 10,
    "min_mass": 10.0,
    "start": 0.2,  # share of the steps after which prototypes and distillation begin
    "arms": ("point", "symmetric", "dual", "ev_wsss", "dense"),
}  # fmt: skip
ARM = {
    "dual_weight": None,
    "prototype_weight": None,
    "distillation_weight": None,
    "exchanged": True,
    "reversed_stream": True,
    "dense": False,
    "authors_code": False,
    "threshold": 0.5,
    "region_threshold": 0.7,
}
METHODS = {
    "point": {},
    "symmetric": {"dual_weight": 0.5, "reversed_stream": False},
    "dual": {"dual_weight": 0.5},
    "prototypes": {"dual_weight": 0.5, "prototype_weight": 0.5, "exchanged": False},
    "ev_wsss": {"dual_weight": 0.5, "prototype_weight": 0.5, "distillation_weight": 1.0},
    "dense": {"dense": True},
}
ARMS = {
    "point": {"learning_rate": 1e-2},
    "symmetric": {"learning_rate": 1e-2, "threshold": 0.5},
    "dual": {"learning_rate": 5e-3, "threshold": 0.5},
    "prototypes": {"learning_rate": 5e-3, "threshold": 0.5},
    "ev_wsss": {"learning_rate": 1e-2, "threshold": 0.5},
    "dense": {"learning_rate": 2e-2},
}
MUTUAL = grid({("learning_rate", "threshold"): ((5e-3, 0.5), (1e-2, 0.5), (2e-2, 0.5), (2e-2, 0.8))})
GRID = {
    "point": grid({"learning_rate": (2.5e-3, 5e-3, 1e-2, 2e-2)}),
    **dict.fromkeys(("symmetric", "dual", "prototypes", "ev_wsss"), MUTUAL),
    "dense": grid({"learning_rate": (5e-3, 1e-2, 2e-2, 4e-2)}),
}
EDGES = {
    "threshold": TWO_VALUES,
    "learning_rate": "5e-3 is the lowest of `dual` and `prototypes`: not widened",
}
CLAIMS = (
    secondary("dual", "point"),
    secondary("dual", "symmetric"),
    ablation("prototypes", "dual"),
    ablation("ev_wsss", "prototypes"),
    secondary("ev_wsss", "dual"),
    headline("ev_wsss", "point"),
    room("dense", "ev_wsss"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/miou", arm=ARM, methods=METHODS,
    smoke={"arms": ("point", "ev_wsss", "dense"), "minutes": 0.5, "log_every": 4, "eval_every": 4,
           "checkpoint_every": 8, "steps": 8, "batch_size": 2, "memory": 8, "min_items": 1, "min_mass": 1.0,
           "start": 0.0, "net.channels": (4, 6, 8), "task.train": 8, "task.val": 4, "task.test": 4,
           "task.options": {"size": 16, "num_shapes": 2, "bins": 3, "frames": 3, "backward_factor": 2}},
    tune={"minutes": 10.0, "seeds": 2, "steps": 600, "log_every": 100, "eval_every": 300, "checkpoint_every": 300},
    long=("steps",),
    variants={"ablations": {"arms": ("dual", "prototypes", "ev_wsss"), "minutes": 4.0}},
)  # fmt: skip
