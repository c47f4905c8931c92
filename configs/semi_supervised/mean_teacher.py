"""Mean teachers are better role models, with their neighbours: consistency and pseudo-labels from few labels.

Mean teachers are better role models, 2017, arXiv 1703.01780 (`mean_teacher`; with the student as its own teacher
`pi_model`). Pseudo-labels by the student's own confidence: `pseudo_label` (Lee 2013), `fixmatch` (2020, arXiv
2001.07685); with thresholds per class: `flexmatch` (2021, arXiv 2110.08263), `freematch` (2023, arXiv 2205.07246).

    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py              # 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:fashion      # 5 minutes
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:tune         # the search behind ARMS
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:fashion_tune # and behind FASHION_ARMS

Real digits of which three per class have a label; every seed has its own split and its own labels. The floor is
`supervised`, the few labels alone, with whichever views suit it best, the ceiling `all_labels`. `:fashion` is
Fashion-MNIST at 14 x 14 with its own test set, four labels per class, a small convolutional net and fewer arms.
Other than in the paper: digits and clothes for SVHN, CIFAR-10 and ImageNet, small nets for 13-layer and residual ones.
"""

from configs._comparison import TUNE, TWO_VALUES, benchmark, comparison, grid, headline, premise, room

VIEW = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "gain": 0.0, "noise": 0.0,
        "hole": 0}  # fmt: skip
BASE = {
    "experiment": "semi_supervised.classify",
    "paper": "Mean teachers are better role models (2017, arXiv 1703.01780)",
    "scale": "toy (256-128-unit MLP, digits)",
    "minutes": 4.0, "seeds": 16, "first_seed": 200, "seeds_by": "map",
    "eval_every": 300, "checkpoint_every": 1500, "steps": 1500,
    "labels_per_class": 3,
    "labelled_batch": 32, "unlabelled_batch": 64,
    "ema_decay": 0.99, "eval_chunk": 0,  # examples at a time, 0 for all
    "open_edges": ("mean_teacher: learning_rate", "supervised: weight_decay"),
    "data": {"source": "digits", "part": "rest", "train": 900, "val": 220, "test": 226},
    "net": {"kind": "mlp", "features": (256, 128)},
    "views": {"weak": VIEW | {"shift": 0.08},
              "strong": VIEW | {"shift": 0.1, "rotate": 15.0, "scale": 0.15, "shear": 0.2, "hole": 3}},
}  # fmt: skip
ARM = {"labels": "few", "strong_labels": False, "teacher": "self", "method": "none", "threshold": 0.0,
       "threshold_decay": 0.99, "student_view": "strong", "perturb": "none", "passes": 1, "weight": 1.0,
       "mix_weight": None, "mix_on": "probs", "ramp": "none", "ramp_length": 0.4, "warm_up": 0.0,
       "learning_rate": 3e-3, "weight_decay": 1e-2}  # fmt: skip
METHODS = {
    "supervised": {}, "all_labels": {"labels": "all"},
    "pseudo_label": {"method": "fixed", "student_view": "weak", "ramp": "linear", "warm_up": 0.1},
    "pi_model": {"method": "mse", "ramp": "sigmoid"},
    "mean_teacher": {"method": "mse", "ramp": "sigmoid", "teacher": "ema"},
    "fixmatch": {"method": "fixed", "threshold": 0.95},
    "flexmatch": {"method": "curriculum", "threshold": 0.95},
    "freematch": {"method": "adaptive"},
}  # fmt: skip
ARMS = {
    "supervised": {"strong_labels": True, "learning_rate": 3e-3, "weight_decay": 1.0},
    "all_labels": {"strong_labels": True, "learning_rate": 1e-2, "weight_decay": 0.1},
    "pi_model": {"student_view": "strong", "weight": 10.0, "learning_rate": 3e-3},
    "mean_teacher": {"student_view": "strong", "weight": 10.0, "learning_rate": 1e-2},
    "pseudo_label": {"threshold": 0.0, "weight": 0.3, "learning_rate": 1e-3},
    "fixmatch": {"strong_labels": False, "weight": 0.3, "learning_rate": 1e-2},
    "flexmatch": {"strong_labels": False, "weight": 0.1, "learning_rate": 1e-2},
    "freematch": {"strong_labels": True, "weight": 3.0, "learning_rate": 1e-2},
}  # fmt: skip
EDGES = {
    "threshold": TWO_VALUES,
    "learning_rate": "0.01 and 0.001 end the grid: not widened", "weight": "0.1 and 3 end the grid: not widened",
    "supervised.weight_decay": "1 is the largest: not widened",
}  # fmt: skip
FASHION_ARMS = {
    name: ARMS[name] for name in ("supervised", "pi_model", "mean_teacher", "fixmatch", "all_labels")
}
RATES, LOOK = {"learning_rate": (1e-3, 3e-3, 1e-2)}, {"strong_labels": (False, True)}
WEIGHTS = {"weight": (0.1, 0.3, 1.0, 3.0)}
GRID = {
    **dict.fromkeys(("supervised", "all_labels"), grid(RATES | LOOK | {"weight_decay": (1e-3, 1e-2, 1e-1, 1.0)})),
    **dict.fromkeys(("pi_model", "mean_teacher"),
                    grid(RATES | {"student_view": ("weak", "strong"), "weight": (3.0, 10.0, 50.0, 250.0)})),
    **dict.fromkeys(("fixmatch", "flexmatch", "freematch"), grid(RATES | LOOK | WEIGHTS)),
    "pseudo_label": grid(RATES | {"threshold": (0.0, 0.95)} | WEIGHTS),
}  # fmt: skip
GATES = {"needs": ("room", "converged")}
CLAIMS = (
    headline("mean_teacher", "supervised", "mean teacher beats the few labels alone", source="abstract", **GATES),
    headline("mean_teacher", "pi_model", "an averaged teacher beats the student as its own teacher",
             source="abstract", **GATES),
    benchmark("pseudo_label", "supervised", "pseudo-labels beat the few labels alone"),
    benchmark("fixmatch", "pseudo_label", "weak-to-strong pseudo-labels beat plain ones"),
    benchmark("fixmatch", "mean_teacher", "confident pseudo-labels beat consistency"),
    benchmark("flexmatch", "fixmatch", "thresholds that follow each class beat a fixed one"),
    benchmark("freematch", "fixmatch", "thresholds that follow the teacher's confidence beat a fixed one"),
    room("all_labels", "mean_teacher", "there is room left to the ceiling", name="room", sesoi=0.02),
    premise("mean_teacher", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
TUNING = {"source": "digits", "part": "tuning", "train": 250, "val": 199, "test": 0}
CLOTHES = {
    "scale": "small, real (ConvNet, Fashion-MNIST)", "minutes": 5.0, "seeds": 8, "labels_per_class": 4,
    "eval_chunk": 500, "steps": 1000, "eval_every": 200, "checkpoint_every": 1000, "arms": tuple(FASHION_ARMS),
    "data": {"source": "fashion_mnist", "path": "", "part": "rest", "pool": 2, "train": 10_000, "val": 1000},
    "net": {"kind": "convnet", "features": (8, 16)}, "views.weak.flip": True, "views.strong.flip": True,
    "views.strong.rotate": 10.0, "views.strong.hole": 5,
    **{f"arms.{name}.{key}": value for name, own in FASHION_ARMS.items() for key, value in own.items()},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "mean_teacher", "fixmatch", "all_labels"), "minutes": 0.5, "log_every": 3,
           "eval_every": 6, "checkpoint_every": 6, "steps": 6, "labelled_batch": 8, "unlabelled_batch": 8,
           "net.features": (8,)},
    tune={"minutes": 8.0, "data": TUNING}, long=("steps",),
    variants={"fashion": CLOTHES, "fashion_tune": CLOTHES | TUNE | {
        "grid": {name: GRID[name] for name in FASHION_ARMS}, "minutes": 12.0, "data.part": "tuning"}},
)  # fmt: skip
