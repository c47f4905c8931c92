"""Which self-supervised objective should I use? All of this library on the same encoder, views and budget.

    python -m experiments.run --config=configs/self_supervised/which_objective.py            # 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/which_objective.py:tune       # the search behind ARMS
    python -m experiments.run --config=configs/self_supervised/which_objective.py:fashion    # Fashion-MNIST

The images, views, encoder and length of barlow_twins.py, of which `:fashion` has the same variant: a linear probe and
the nearest neighbours of the frozen encoder see ten labels of each class, at the end of training. Every objective has
as many settings in the search: two rates by three values of its own knob, chosen by the probe on validation images.
Mixed Barlow Twins encodes a third batch in every step, the teachers of BYOL and DINO see each view once more; the
number of images is equal for all. `random` is the encoder as it was drawn, `labels` is trained on every label.

Barlow Twins (2021, arXiv 2103.03230), Mixed Barlow Twins (2023, arXiv 2312.02151), VICReg (2022, arXiv 2105.04906),
NT-Xent (SimCLR, 2020, arXiv 2002.05709), DHEL (2024), BYOL (2020, arXiv 2006.07733), SimSiam (2021, arXiv 2011.10566),
DINO (2021, arXiv 2104.14294). Other than in the papers: no batch norm in projector and predictor; what BYOL and SimSiam
project is standardised over the batch instead.
"""

from configs._comparison import TUNE, TWO_VALUES, benchmark, comparison, grid
from configs.self_supervised import barlow_twins

BASE = barlow_twins.BASE | {
    "paper": "Which self-supervised objective? All of this library, equally tuned",
    "minutes": 5.0,
    "open_edges": (
        "vicreg: invariance_weight",
        "nt_xent: temperature",
        "byol: decay",
        "simsiam: weight_decay",
        "dino: teacher_temperature",
    ),
}
ARM = barlow_twins.ARM | {"off_diagonal_weight": None}
METHODS = {
    "barlow_twins": {"method": "barlow_twins"},
    "mixed": {"method": "mixed_barlow_twins", "mixing_weight": 4.0},
    "vicreg": {"method": "vicreg"},
    "nt_xent": {"method": "nt_xent"},
    "dhel": {"method": "dhel"},
    "byol": {"method": "byol"},
    "simsiam": {"method": "simsiam"},
    "dino": {"method": "dino", "temperature": 0.1, "decay": 0.99, "prototypes": 128},
    "labels": {"method": "labels"},
    "random": {"method": "untrained"},
}
SLOW, FAST = {"learning_rate": 1e-2}, {"learning_rate": 3e-2}
ARMS = {
    "barlow_twins": FAST | {"off_diagonal_weight": 0.015},
    "mixed": FAST | {"off_diagonal_weight": 0.015},
    "vicreg": FAST | {"invariance_weight": 25.0},
    "nt_xent": FAST | {"temperature": 0.1},
    "dhel": FAST | {"temperature": 0.2},
    "byol": SLOW | {"decay": 0.99},
    "simsiam": FAST | {"weight_decay": 1e-5},
    "dino": SLOW | {"teacher_temperature": 0.01},
    "labels": SLOW | {"weight_decay": 1e-3},
    "random": {"probe_decay": 10.0},
}
EDGES = {
    "learning_rate": TWO_VALUES,
    "labels.weight_decay": "no two decays differ by more than 0.003 at this rate",
}
EDGES |= dict.fromkeys((name for name in METHODS if name not in ("random", "labels")), "not widened")
RATES = (1e-2, 3e-2)
DECAYS = grid({"learning_rate": RATES, "weight_decay": (1e-5, 1e-4, 1e-3)})
REDUNDANCY = grid({"learning_rate": RATES, "off_diagonal_weight": (0.005, 0.015, 0.05)})
CONTRAST = grid({"learning_rate": RATES, "temperature": (0.1, 0.2, 0.5)})
GRID = {
    "barlow_twins": REDUNDANCY, "mixed": REDUNDANCY,
    "vicreg": grid({"learning_rate": RATES, "invariance_weight": (1.0, 5.0, 25.0)}),
    "nt_xent": CONTRAST, "dhel": CONTRAST,
    "byol": grid({"learning_rate": RATES, "decay": (0.9, 0.97, 0.99)}),
    "simsiam": DECAYS,
    "dino": grid({"learning_rate": RATES, "teacher_temperature": (0.01, 0.02, 0.04)}),
    "labels": DECAYS,
    "random": grid({"probe_decay": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)}),
}  # fmt: skip
OBJECTIVES = [name for name in METHODS if name not in ("random", "labels")]
KNN = {"metric": "knn_accuracy"}
CLAIMS = (
    *(benchmark(name, "random") for name in OBJECTIVES),
    *(benchmark(name, "nt_xent") for name in OBJECTIVES if name != "nt_xent"),
    *(benchmark(name, "nt_xent", f"{name} has better neighbours than nt_xent", **KNN)
      for name in OBJECTIVES if name != "nt_xent"),
)  # fmt: skip
FASHION_ARMS = {
    **dict.fromkeys(("barlow_twins", "mixed"), FAST | {"off_diagonal_weight": 0.05}),
    "vicreg": SLOW | {"invariance_weight": 5.0},
    **dict.fromkeys(("nt_xent", "dhel"), FAST | {"temperature": 0.1}),
    "byol": FAST | {"decay": 0.99},
    "simsiam": FAST | {"weight_decay": 1e-4},
    "dino": FAST | {"teacher_temperature": 0.02},
    "labels": SLOW | {"weight_decay": 1e-4},
    "random": {"probe_decay": 10.0},
}
FASHION = barlow_twins.FASHION | {
    "minutes": 6.0, **{f"arms.{name}.{key}": value for name, own in FASHION_ARMS.items() for key, value in own.items()},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/probe_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("vicreg", "nt_xent", "dino", "random"), "examples": 20 * 16, "labels_per_class": 3,
           "arms.*.batch_size": 16, "arms.*.width": 8, "data.train": 96, "data.val": 48, "data.test": 48,
           "net.features": (4, 8), "net.projector": (16,), "probe.steps": 10},
    tune={"minutes": 9.0, "seeds": 3}, long=("examples",),
    variants={"fashion": FASHION,
              "fashion_tune": FASHION | TUNE | {"grid": GRID, "seeds": 3, "minutes": 11.0, "data.part": "tuning",
                                                "data.train": 12_000}},
)  # fmt: skip
