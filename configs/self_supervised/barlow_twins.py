"""Barlow Twins: features of unlabelled images that agree between two views and say different things.

Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021, arXiv 2103.03230 (ICML 2021).

    python -m experiments.run --config=configs/self_supervised/barlow_twins.py         # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/barlow_twins.py:tune    # the search behind ARMS

Procedural images before clutter: the class is one of six shapes, while texture, place, size, angle and background vary.
A linear probe of the frozen encoder sees ten labels of each shape. `lambda0` has no redundancy term, `random` is the
encoder as it was drawn, `pixels` none, `labels` the same encoder trained on every label. Each seed has its own images.
`:fashion` is the same on Fashion-MNIST, with its own test file.
Other than in the paper: no batch norm in the projector, as nowhere in this library; both views are drawn alike, without
blur, colour and solarisation; AdamW in the place of LARS, with its warm-up and cosine. `:paper` has the paper's batch,
projector, optimizer and rates with a small residual net, on the user's images in a folder of .npy files that are read
while it trains (`--config.data.path=images`); `data.source` may also be "arrow" or, in memory, "npz".
"""

from configs._comparison import TUNE, ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "self_supervised.pretrain",
    "paper": "Barlow Twins: Self-Supervised Learning via Redundancy Reduction (2021, arXiv 2103.03230)",
    "scale": "toy (two convolutions, procedural images)", "minutes": 4.0, "seeds_by": "map",
    "log_every": 60, "eval_every": 60, "checkpoint_every": 300,
    "examples": 300 * 256,  # images drawn for an arm, each in two views; its steps are so many batches
    "warm_up": 0.1,  # share of the steps
    "labels_per_class": 10,
    "data": {
        "source": "factors", "train": 4000, "val": 1000, "test": 2000, "label": "shape", "mean": 0.15, "spread": 0.25,
        "options": {"shapes": ("disk", "square", "triangle", "cross", "bar", "ring"), "place": 0.15,
                    "textures": ("plain", "stripes", "checks", "rings"), "radius": (0.28, 0.38), "size": 16},
    },
    "views": {"count": 2, "shift": 0.2, "rotate": 45.0, "scale": 0.2, "gain": 0.3, "noise": 0.1, "hole": 4},
    "net": {"kind": "convnet", "features": (16, 32), "patch": 2, "projector": (128,)},
    "probe": {"steps": 100, "learning_rate": 0.1, "neighbors": 5},
}  # fmt: skip
ARM = {"method": "barlow_twins", "off_diagonal_weight": 0.05, "width": 128, "batch_size": 256, "optimizer": "adamw",
       "learning_rate": 1e-2, "weight_decay": 1e-4, "probe_on": "features", "probe_decay": 1e-2}  # fmt: skip
METHODS = {
    "bt": {}, "lambda0": {"off_diagonal_weight": 0.0}, "batch32": {"batch_size": 32}, "d32": {"width": 32},
    "d512": {"width": 512}, "labels": {"method": "labels"}, "random": {"method": "untrained"},
    "pixels": {"method": "untrained", "probe_on": "pixels"},
}  # fmt: skip
ARMS = {
    **{name: {"learning_rate": 3e-2, "off_diagonal_weight": 0.015} for name in ("bt", "batch32", "d32", "d512")},
    "lambda0": {"learning_rate": 1e-2, "weight_decay": 1e-3},
    "labels": {"learning_rate": 3e-2, "weight_decay": 1e-5},
    "random": {"probe_decay": 10.0}, "pixels": {"probe_decay": 10.0},
}  # fmt: skip
EDGES = {
    "bt": "0.05 and 0.5 were tried before, with rates from 3e-3 to 3e-2: 0.573 and 0.437 at most",
    "lambda0": "3e-3 was tried before: 0.445 at most; a larger decay was not",
    "labels": "no two decays differ by more than 0.004 at this rate",
}
RATES = (1e-2, 3e-2, 0.1)
ALONE = grid({"learning_rate": RATES, "weight_decay": (1e-5, 1e-4, 1e-3)})
PROBES = grid({"probe_decay": (0.0, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)})
GRID = {
    "bt": grid({"learning_rate": RATES, "off_diagonal_weight": (0.0015, 0.0051, 0.015)}),
    "lambda0": ALONE, "labels": ALONE, "random": PROBES, "pixels": PROBES,
}  # fmt: skip
BAND = {"relation": "equivalent", "sesoi": 0.02}
GATES = {"needs": ("room", "above_chance", "converged")}
CLAIMS = (
    headline("bt", "random", "Barlow Twins probes better than a random encoder", sesoi=0.02, **GATES),
    secondary("bt", "pixels", "it probes better than the pixels", sesoi=0.02, **GATES),
    secondary("bt", "lambda0", "the redundancy term is needed", sesoi=0.02, needs=(*GATES["needs"], "decorrelated")),
    secondary("batch32", "bt", "batches of 32 are as good as of 256", **GATES, **BAND),
    ablation("d512", "d32", "512 outputs are as good as 32", **GATES, **BAND),
    room("labels", "random", "labels find more than a random encoder", name="room", sesoi=0.04),
    room("random", 1 / 6, "a random encoder is above chance", name="above_chance", sesoi=0.04),
    premise("bt", 0, "the last fifth changes little", name="converged", metric="val/late_change", **BAND),
    premise("bt", "lambda0", "the term decorrelates outputs", name="decorrelated", metric="output_rank", sesoi=5.0),
)  # fmt: skip

FASHION = {
    "scale": "small, real (two convolutions, Fashion-MNIST at 14 x 14)", "minutes": 5.0,
    "data": {"source": "fashion_mnist", "path": "", "split_seed": 0, "part": "rest", "train": 20_000, "val": 2000,
             "mean": 0.22, "spread": 0.3},
    "views": BASE["views"] | {"flip": True, "shift": 0.15, "rotate": 15.0},
}  # fmt: skip
SEARCH = TUNE | {"grid": GRID, "data.part": "tuning", "data.train": 12_000, "minutes": 10.0}
PAPER = {
    "scale": "paper", "minutes": 6000.0, "seeds": 3, "examples": 1000 * 40_000, "warm_up": 0.01,
    "log_every": 195, "eval_every": 1950, "checkpoint_every": 1950,
    "arms": ("bt", "lambda0", "labels", "random", "pixels"),
    "data": FASHION["data"] | {"source": "npy", "train": 36_000, "val": 1000, "mean": 0.5, "spread": 0.25},
    "views": FASHION["views"] | {"rotate": 0.0, "scale": 0.3, "hole": 8},
    "net": {"kind": "resnet", "features": (3, 3, 3), "patch": 1, "projector": (8192, 8192)},
    "arms.*.width": 8192, "arms.*.batch_size": 2048, "arms.*.optimizer": "lars", "arms.*.learning_rate": 1.6,
    "arms.*.weight_decay": 1e-6, "arms.bt.off_diagonal_weight": 0.0051,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/probe_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("bt", "lambda0", "labels", "random", "pixels"), "examples": 20 * 16, "labels_per_class": 3,
           "arms.*.batch_size": 16, "arms.*.width": 8, "data.train": 96, "data.val": 48, "data.test": 48,
           "net.features": (4, 8), "net.projector": (16,), "probe.steps": 10},
    tune={"minutes": 8.0}, long=("examples",),
    variants={"fashion": FASHION, "fashion_tune": FASHION | SEARCH, "paper": PAPER},
)  # fmt: skip
