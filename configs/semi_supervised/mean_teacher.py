"""Mean teachers are better role models, with their neighbours: consistency and pseudo-labels from few labels.

Mean teachers are better role models, 2017, arXiv 1703.01780 (`mean_teacher`; with the student as its own teacher
`pi_model`). Pseudo-labels by the student's own confidence: `pseudo_label` (Lee 2013), `fixmatch` (2020, arXiv
2001.07685); with thresholds per class: `flexmatch` (2021, arXiv 2110.08263), `freematch` (2023, arXiv 2205.07246).

    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py              # 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:fashion      # 15 minutes
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:tune         # the search behind ARMS
    python -m experiments.run --config=configs/semi_supervised/mean_teacher.py:fashion_tune # and behind FASHION_ARMS

Real digits of which three per class have a label; the floor is `supervised`, the few labels alone, with whichever
views suit it best, the ceiling `all_labels`. `:fashion` is Fashion-MNIST at 14 x 14 with its own test set, four labels
per class, a small convolutional net and the settings in the middle of each grid, tuned on 800 of its 2,000 steps.
Other than in the paper: digits and clothes for SVHN, CIFAR-10 and ImageNet, small nets for 13-layer and residual ones.
"""

from configs._comparison import TUNE, TWO_VALUES, benchmark, comparison, grid, headline, room

VIEW = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "gain": 0.0, "noise": 0.0,
        "hole": 0}  # fmt: skip
BASE = {
    "experiment": "semi_supervised.classify",
    "paper": "Mean teachers are better role models (2017, arXiv 1703.01780)",
    "scale": "toy (256-128-unit MLP, digits)",
    "minutes": 4.0,
    "seeds": 6,
    "seeds_by": "map",
    "steps": 1500,
    "labels_per_class": 3,
    "label_pool": 50,  # of how many per class each seed chooses
    "labelled_batch": 32,
    "unlabelled_batch": 64,
    "ema_decay": 0.99,
    "eval_chunk": 0,  # examples at a time, 0 for all
    "data": {"source": "digits", "split_seed": 0, "fractions": (0.6, 0.1, 0.3), "pool": 1, "path": ""},
    "net": {"kind": "mlp", "features": (256, 128)},
    "views": {
        "weak": VIEW | {"shift": 0.08},
        "strong": VIEW | {"shift": 0.1, "rotate": 15.0, "scale": 0.15, "shear": 0.2, "hole": 3},
    },
}
ARM = {
    "labels": "few",
    "strong_labels": False,  # whether the labelled examples are seen in strong views
    "teacher": "self",
    "method": "none",
    "threshold": 0.0,
    "threshold_decay": 0.99,
    "student_view": "strong",
    "perturb": "none",
    "passes": 1,
    "weight": 1.0,
    "mix_weight": None,  # None mixes nothing
    "mix_on": "probs",
    "ramp": "none",
    "ramp_length": 0.4,  # share of the steps
    "warm_up": 0.0,  # share of the steps
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
}
METHODS = {
    "supervised": {},
    "pseudo_label": {"method": "fixed", "student_view": "weak", "ramp": "linear", "warm_up": 0.1},
    "pi_model": {"method": "mse", "ramp": "sigmoid"},
    "mean_teacher": {"method": "mse", "ramp": "sigmoid", "teacher": "ema"},
    "fixmatch": {"method": "fixed", "threshold": 0.95},
    "flexmatch": {"method": "curriculum", "threshold": 0.95},
    "freematch": {"method": "adaptive"},
    "all_labels": {"labels": "all"},
}
ARMS = {
    "supervised": {"strong_labels": True, "learning_rate": 1e-2},
    "pseudo_label": {"threshold": 0.95, "weight": 1.0},
    "pi_model": {"student_view": "strong", "weight": 50.0},
    "mean_teacher": {"student_view": "strong", "weight": 250.0},
    "fixmatch": {"strong_labels": False, "weight": 0.3},
    "flexmatch": {"strong_labels": False, "weight": 0.3},
    "freematch": {"strong_labels": False, "weight": 3.0},
    "all_labels": {"strong_labels": False, "learning_rate": 3e-3},
}
FASHION_ARMS = {
    "supervised": {"strong_labels": False, "learning_rate": 1e-3},
    "pseudo_label": {"threshold": 0.0, "weight": 3.0},
    "pi_model": {"student_view": "weak", "weight": 50.0},
    "mean_teacher": {"student_view": "weak", "weight": 50.0},
    "fixmatch": {"strong_labels": False, "weight": 1.0},
    "flexmatch": {"strong_labels": False, "weight": 1.0},
    "freematch": {"strong_labels": True, "weight": 1.0},
    "all_labels": {"strong_labels": False, "learning_rate": 3e-3},
}


def settings(rates: tuple, consistency: tuple, weights: tuple) -> dict[str, list[dict]]:
    """Two forms of every arm by so many rates or weights."""
    alone = grid({"strong_labels": (False, True), "learning_rate": rates})
    agree = grid({"student_view": ("weak", "strong"), "weight": consistency})
    believe = grid({"strong_labels": (False, True), "weight": weights})
    return {
        "supervised": alone,
        "pseudo_label": grid({"threshold": (0.0, 0.95), "weight": weights}),
        "pi_model": agree,
        "mean_teacher": agree,
        "fixmatch": believe,
        "flexmatch": believe,
        "freematch": believe,
        "all_labels": alone,
    }


GRID = settings((3e-4, 1e-3, 3e-3, 1e-2), (2.0, 10.0, 50.0, 250.0), (0.3, 1.0, 3.0, 10.0))
FASHION_GRID = settings((1e-3, 3e-3), (10.0, 50.0), (1.0, 3.0))
EDGES = {
    "*": TWO_VALUES,
    "supervised": "1e-2 is the highest: not widened",
    "mean_teacher": "250 is the largest: not widened",
    **dict.fromkeys(("fixmatch", "flexmatch"), "0.3 is the smallest: not widened"),
}
CLAIMS = (
    headline("mean_teacher", "supervised", "mean teacher beats the few labels alone"),
    headline("mean_teacher", "pi_model", "an averaged teacher beats the student as its own teacher"),
    benchmark("pseudo_label", "supervised", "pseudo-labels beat the few labels alone"),
    benchmark("fixmatch", "pseudo_label", "weak-to-strong pseudo-labels beat plain ones"),
    benchmark("fixmatch", "mean_teacher", "confident pseudo-labels beat consistency"),
    benchmark("flexmatch", "fixmatch", "thresholds that follow each class beat a fixed one"),
    benchmark("flexmatch", "fixmatch", "they raise the recall of the worst class", metric="worst_recall",
              name="worst_recall"),
    room("all_labels", "flexmatch", "there is room left to the ceiling"),
)  # fmt: skip
FASHION = {
    "scale": "small, real (ConvNet, Fashion-MNIST)", "minutes": 15.0, "labels_per_class": 4, "eval_chunk": 500,
    "steps": 2000, "arms": FASHION_ARMS, "data.source": "fashion_mnist", "data.fractions": (0.9, 0.1, 0.0),
    "data.pool": 2, "net": {"kind": "convnet", "features": (16, 32, 32)}, "views.weak.flip": True,
    "views.strong.flip": True, "views.strong.rotate": 10.0, "views.strong.hole": 5,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "mean_teacher", "fixmatch", "all_labels"), "minutes": 0.5, "log_every": 3,
           "eval_every": 6, "checkpoint_every": 6, "steps": 6, "labelled_batch": 8, "unlabelled_batch": 8,
           "net.features": (8,)},
    tune={"minutes": 12.0, "seeds": 4}, long=("steps",),
    variants={"fashion": FASHION, "fashion_tune": FASHION | TUNE | {
        "grid": FASHION_GRID, "seeds": 2, "steps": 800, "eval_every": 800, "checkpoint_every": 800}},
)  # fmt: skip
