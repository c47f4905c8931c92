"""Random teachers are good teachers: a student of an untrained teacher learns features that neither had.

Random Teachers are Good Teachers, 2023, arXiv 2302.12091 (ICML 2023).

    python -m experiments.run --config=configs/distillation/random_teacher.py           # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/random_teacher.py:tune      # the search behind ARMS

Twenty procedural classes, 12 x 12 pixels, displaced, so that a linear model of the pixels is far from the best one.
Every seed has its own. Nobody sees a label before the probe, except the ceiling `labels`. Students begin near the
teacher (`near`, alpha 0.1; the paper's 1e-10 is the teacher itself in float32), some way off (`between`, 0.3) or
independent of it (`far`, 1); `noise` begins like `between` and sees Gaussian noise of the images'
mean and spread. `teacher` and `pixels` train nothing; their settings are the probe's. As in the paper no augmentation,
no weight decay and a constant rate.
Other than in the paper: three convolutions for 600 steps. `:paper` has its section 3 and appendix E on CIFAR-10, but
five convolutions in the place of VGG11's eight; the images are the user's (`--config.data.path=cifar10.npz`).
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.distillation import _tasks as tasks

BASE = {
    "experiment": "distillation.distill_random_teacher",
    "paper": "Random Teachers are Good Teachers (2023, arXiv 2302.12091)",
    "scale": "toy (three convolutions, procedural classes)",
    "seeds": 16, "first_seed": 200, "seeds_by": "map",
    "eval_every": 100, "checkpoint_every": 600,
    "steps": 600,
    "batch_size": 64,
    "data": tasks.HIERARCHY_DATA | {"test": 2000, "mean": 0.5, "spread": 0.2},
    "net": {
        "channels": (16, 32, 64),
        "projector": (64, 64),
        "bottleneck": 32,
        "outputs": 256,  # above the bottleneck's width
        "weight_norm": True,
        "init_std": 0.0,  # of the head; 0 keeps the variance, which the paper's 0.02 does at width 2,048
    },
    "probe": {"train_examples": 2000, "steps": 100, "learning_rate": 0.1, "neighbors": 20,
              "chunk": 0},  # images at a time, 0 for all
    "landscape": {"images": 256, "points": 21, "line": ("near", "between", "far"), "plane": ("between", "far")},
}  # fmt: skip
ARM = {"method": "distill", "alpha": 0.3, "inputs": "images", "probe": "features", "learning_rate": 1e-3,
       "probe_decay": 1.0}  # fmt: skip
METHODS = {
    "near": {"alpha": 0.1},
    "between": {},
    "far": {"alpha": 1.0},
    "noise": {"inputs": "noise"},
    "labels": {"method": "labels", "alpha": 1.0},
    "teacher": {"method": "untrained", "alpha": 0.0},
    "pixels": {"method": "untrained", "alpha": 0.0, "probe": "pixels"},
}
ARMS = {
    "near": {"learning_rate": 1e-3},
    "between": {"learning_rate": 1e-3},
    "far": {"learning_rate": 3e-3},
    "noise": {"learning_rate": 3e-4},
    "labels": {"learning_rate": 3e-3},
    "teacher": {"probe_decay": 1.0},
    "pixels": {"probe_decay": 1.0},
}
UNTRAINED = grid({"probe_decay": (1e-2, 0.1, 1.0, 10.0)})
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2)})) | {
    "teacher": UNTRAINED,
    "pixels": UNTRAINED,
}
GATES = {"needs": ("moves", "room", "converged")}
AS_GOOD = {"relation": "equivalent", "sesoi": 0.02}
EDGES = {"noise": "3e-4 is the lowest rate, and the less it learns the better"}
CLAIMS = (
    headline("between", "teacher", "a student probes better than its untrained teacher", **GATES),
    secondary("between", "noise", "real images matter: better than a student of noise", **GATES),
    secondary("between", "far", "beginning some way off beats beginning anywhere", **GATES),
    ablation("between", "near", "beginning nearer is as good", **AS_GOOD, **GATES),
    ablation("noise", "teacher", "a student of noise probes like its teacher", **AS_GOOD, **GATES),
    room("labels", "between", "there is room left to a trained encoder", name="room", sesoi=0.02),
    premise("between", 0, "the student moves", name="moves", metric="distance", sesoi=0.05),
    premise("between", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
PAPER = {
    "scale": "paper", "minutes": 600.0, "seeds": 5, "batch_size": 256, "steps": 100 * 45_000 // 256,
    "log_every": 175, "eval_every": 1750, "checkpoint_every": 1750,
    "data": {"source": "npz", "path": "", "part": "rest", "pool": 1, "train": 36_000, "val": 1500, "mean": 0.5,
             "spread": 0.25},
    "net.channels": (64, 128, 256, 512, 512), "net.projector": (2048, 2048), "net.bottleneck": 256,
    "net.outputs": 65536, "net.init_std": 0.02,
    "probe.train_examples": 45_000, "probe.steps": 500, "probe.chunk": 1000,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/probe_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("between", "noise", "pixels"), "log_every": 2, "eval_every": 4, "checkpoint_every": 4,
           "steps": 4, "batch_size": 8, "net.channels": (4,), "data": {
               "source": "digits", "part": "rest", "train": 200, "val": 40, "test": 40, "mean": 0.3, "spread": 0.4},
           "net.projector": (8,), "net.bottleneck": 4, "net.outputs": 8, "probe.train_examples": 64,
           "probe.steps": 5, "probe.neighbors": 3, "landscape.images": 8, "landscape.points": 5},
    tune={"minutes": 5.0}, long=("steps",),
    variants={"paper": PAPER},
)  # fmt: skip
