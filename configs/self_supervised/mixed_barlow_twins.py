"""Mixed Barlow Twins: mixtures of two images should be seen as mixtures, so that a wide projector does not memorise.

Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023, arXiv 2312.02151.

    python -m experiments.run --config=configs/self_supervised/mixed_barlow_twins.py        # 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/mixed_barlow_twins.py:tune   # the search behind ARMS

Only 128 procedural images, and 1,200 passes over them: the paper says that the nearest neighbours of Barlow Twins get
worse late in training. Whether they do so here is asked first: the best moment is chosen on one half of the validation
images and compared with the end on the other half, where it is no better by chance. The neighbours are 18
labelled training images of each class. Mixed Barlow Twins encodes three batches a step where Barlow Twins encodes two:
`bt_longer` takes half as many steps more, and encodes as many images.
Other than in the paper: no batch norm, AdamW in the place of Adam, the variance of batch norm with its epsilon.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, room, secondary
from configs.self_supervised import barlow_twins

BASE = barlow_twins.BASE | {
    "paper": "Guarding Barlow Twins Against Overfitting with Mixed Samples (2023, arXiv 2312.02151)",
    "seeds": 12,
    "open_edges": ("bt: learning_rate", "mixed: learning_rate", "mixed: mixing_weight"),
    "examples": 2400 * 64,
    "labels_per_class": 18,
    "data": barlow_twins.BASE["data"] | {"train": 128, "val": 2000},
    "probe": barlow_twins.BASE["probe"]
    | {"neighbors": 20, "measures": ("classes", "halves"), "settled": "knn_accuracy"},
}
ARM = barlow_twins.ARM | {"off_diagonal_weight": 0.015, "mixing_weight": None, "width": 256, "batch_size": 64,
                          "longer": 1.0}  # fmt: skip
METHODS = {
    "bt": {}, "bt_longer": {"longer": 1.5}, "mixed": {"method": "mixed_barlow_twins"}, "labels": {"method": "labels"},
    "random": {"method": "untrained"},
}  # fmt: skip
ARMS = {
    **{name: {"learning_rate": 3e-2, "off_diagonal_weight": 5e-3} for name in ("bt", "bt_longer")},
    "mixed": {"learning_rate": 3e-2, "off_diagonal_weight": 5e-3, "mixing_weight": 4.0},
    "labels": {"learning_rate": 3e-2, "weight_decay": 1e-5},
    "random": {"probe_decay": 10.0},
}
EDGES = {"*": TWO_VALUES, "labels.weight_decay": "1e-4 is as good"}
RATES = (1e-2, 3e-2)
GRID = {
    "bt": grid({"learning_rate": RATES, "off_diagonal_weight": (5e-4, 1.5e-3, 5e-3, 1.5e-2)}),
    "mixed": grid(
        {"learning_rate": RATES, "off_diagonal_weight": (1.5e-3, 5e-3), "mixing_weight": (1.0, 4.0)}
    ),
    "labels": grid({"learning_rate": RATES, "weight_decay": (1e-5, 1e-4, 1e-3, 1e-2)}),
}
JUDGE = "val/knn_accuracy"
GATES = {"needs": ("overfits", "room", "above_random")}
CLAIMS = (
    headline("mixed", "bt", "mixtures leave better neighbours at the end", sesoi=0.01, **GATES),
    secondary("mixed", "bt_longer", "also at as many encoded images", sesoi=0.01, **GATES),
    secondary("bt", "mixed", "less is lost since the best moment", metric="val/knn_loss", sesoi=0.01, **GATES),
    ablation("mixed", "bt", "and a better probe", metric="probe_accuracy", sesoi=0.01, **GATES),
    premise("bt", 0, "Barlow Twins is below its best moment at the end", name="overfits", metric="val/knn_loss",
            sesoi=0.01),
    premise("bt", "random", "Barlow Twins learns something", name="above_random", sesoi=0.02),
    room("labels", "bt", "labels find better neighbours", name="room", sesoi=0.02),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/knn_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("bt", "mixed", "labels", "random"), "examples": 20 * 16, "labels_per_class": 3,
           "arms.*.batch_size": 16, "arms.*.width": 8, "data.train": 96, "data.val": 48, "data.test": 48,
           "net.features": (4, 8), "net.projector": (16,), "probe.steps": 10},
    tune={"minutes": 6.0, "seeds": 3}, long=("examples",),
)  # fmt: skip
