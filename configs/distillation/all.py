"""Which distillation loss should I use? Every loss on logits of this library, equally tuned, on the same three tasks.

    python -m experiments.run --config=configs/distillation/all.py                  # about 8 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/all.py:tune --publish   # the search behind CHOSEN

Tasks. 300 of scikit-learn's digits and a 10-unit student; twenty procedural classes in five groups and a 32-unit
student; the first 5,000 training images of Fashion-MNIST (fetch them once with `--download`, or give
`--config.tasks.fashion.data.path`) and a 16-unit student: pld.py's tasks with wider students, as narrower ones
scatter too much from seed to seed to tell losses apart. The teachers see the same images as their students. `ce` has
no teacher, and `smoothing` replaces it by a constant: what they reach needs no distillation.

Every arm had four settings and three seeds of its own for tuning, judged by validation accuracy. Where a loss may stand
beside cross-entropy, two of its settings say how much; the ranking losses and PLD hold the label themselves.

Papers: KD (2015, arXiv 1503.02531), reverse KL (MiniLLM, 2023, arXiv 2306.08543), JSD (GKD, 2023, arXiv 2306.13649),
DKD (2022, arXiv 2203.08679), DIST (2022, arXiv 2205.10536), BinaryKL (DHKD, 2024, arXiv 2411.08937), ListMLE (2008) and
PLD (2025, arXiv 2506.12542).

Found (8 seeds, test accuracy; teachers 0.97, 0.93 and 0.85). Use DIST first: on the hierarchy 0.708, +0.070 [+0.048,
+0.091] ahead of label smoothing and +0.078 [+0.065, +0.091] of KD; on Fashion-MNIST 0.835, +0.006 [+0.004, +0.009] and
+0.009 [+0.004, +0.013]; on the digits level with KD, +0.007 [-0.004, +0.017]. KD itself beats label smoothing nowhere:
-0.014 [-0.023, -0.006], -0.008 [-0.038, +0.021], -0.002 [-0.006, +0.002]. Reverse KL, JSD, DKD and PLD lie within 0.02
of KD; clearly better are DKD on the digits, +0.015 [+0.005, +0.025], PLD there, +0.010 [+0.001, +0.018], with a weight
of 0.998 on the label's own place, and reverse KL on the hierarchy, +0.014 [+0.004, +0.024]. BinaryKL, BinaryKL-Norm
and ListMLE are behind label smoothing on every task, by 0.016 to 0.15 (one of nine undecided). How sure: students of
10 to 32 units, a thousand steps and two learning rates, of which the lower won on the digits and the higher elsewhere;
of 51 comparisons two or three would be called decided by chance alone; widths were set for what validation had shown
in the comparison of dhkd.py.
"""

from ml_collections import ConfigDict

from configs.distillation import pld

VARIANTS = ("smoke", "tune")

_MIXES = ((0.1, 0.9), (0.5, 0.5))  # weights of cross-entropy and of the loss


def _mixed(**options: float) -> list[dict]:
    """Two learning rates by two mixtures with cross-entropy."""
    return [
        {"learning_rate": rate, "ce_weight": label, "weight": loss, **options}
        for rate in (3e-3, 1e-2)
        for label, loss in _MIXES
    ]


# Four settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
GRID = {
    "ce": [{"learning_rate": rate, "weight_decay": decay} for rate in (3e-3, 1e-2) for decay in (1e-4, 1e-2)],
    "smoothing": [{"learning_rate": rate, "alpha": alpha} for rate in (3e-3, 1e-2) for alpha in (0.05, 0.2)],
    "kd": [
        {"learning_rate": rate, "ce_weight": 0.1, "weight": 0.9, "temperature": temperature}
        for rate in (3e-3, 1e-2)
        for temperature in (2.0, 4.0)
    ],
    "reverse_kl": _mixed(temperature=2.0),
    "jsd": _mixed(temperature=2.0),
    "dkd": [
        {"learning_rate": rate, "ce_weight": 1.0, "temperature": 4.0, "alpha": 1.0, "beta": beta}
        for rate in (3e-3, 1e-2)
        for beta in (1.0, 8.0)
    ],
    "dist": [
        {"learning_rate": rate, "ce_weight": label, "beta": weight, "gamma": weight}
        for rate in (3e-3, 1e-2)
        for label, weight in ((0.1, 0.45), (1.0, 2.0))
    ],
    "binary_kl": _mixed(temperature=2.0),
    "binary_kl_norm": _mixed(temperature=2.0),
    "listmle": [
        {"learning_rate": rate, "weight_decay": decay} for rate in (3e-3, 1e-2) for decay in (1e-4, 1e-2)
    ],
    "pld": [
        {"learning_rate": rate, "temperature": temperature}
        for rate in (3e-3, 1e-2)
        for temperature in (1.0, 4.0)
    ],
}

# The setting with the best mean validation accuracy in `:tune` (results/distillation/all-tune.json).
CHOSEN = {
    "digits": {
        "ce": 0, "smoothing": 1, "kd": 0, "reverse_kl": 1, "jsd": 0, "dkd": 2, "dist": 0, "binary_kl": 3,
        "binary_kl_norm": 3, "listmle": 1, "pld": 0,
    },
    "hierarchy": {
        "ce": 3, "smoothing": 2, "kd": 3, "reverse_kl": 2, "jsd": 2, "dkd": 2, "dist": 3, "binary_kl": 3,
        "binary_kl_norm": 3, "listmle": 0, "pld": 2,
    },
    "fashion": {
        "ce": 1, "smoothing": 0, "kd": 2, "reverse_kl": 3, "jsd": 2, "dkd": 2, "dist": 2, "binary_kl": 1,
        "binary_kl_norm": 3, "listmle": 0, "pld": 2,
    },
}  # fmt: skip


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke" or "tune"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = pld.get_config()
    config.paper = "Which distillation loss? All losses on logits, equally tuned"
    config.scale = "toy (MLPs of 10 to 32 units; digits, Fashion-MNIST, procedural classes)"
    config.minutes, config.seeds = 8.0, 8
    config.tasks.digits.data.train_examples = 300
    config.tasks.digits.student.update({"options": {"features": (10,)}, "steps": 1000})
    config.tasks.hierarchy.student.update({"options": {"features": (32,)}, "steps": 1000})
    config.tasks.fashion = {
        "data": {"source": "fashion_mnist", "path": "", "split_seed": 0, "fractions": (5 / 6, 1 / 6, 0.0),
                 "train_examples": 5000},
        "teacher": config.tasks.digits.teacher.to_dict(),
        "student": {"net": "mlp", "options": {"features": (16,)}, "steps": 1000},
    }  # fmt: skip
    for name, task in config.tasks.items():
        task.arms = ConfigDict({arm: _arm(arm, grid[CHOSEN[name][arm]]) for arm, grid in GRID.items()})
    losses = [arm for arm in GRID if arm not in ("ce", "smoothing", "kd")]
    config.claims = tuple(
        {"name": f"{arm}_over_{versus}", "text": f"{arm} beats {versus}", "kind": "benchmark",
         "metric": "test/accuracy", "arm": arm, "versus": versus}
        for arm, versus in [*((arm, versus) for versus in ("smoothing", "kd") for arm in losses), ("kd", "smoothing")]
    )  # fmt: skip
    if variant:
        {"smoke": _smoke, "tune": _tune}[variant](config)
    return config


def _arm(name: str, setting: dict) -> dict:
    """What train_student reads: weights, rate and decay, and the rest as options of the loss."""
    arm = {"loss": name, "ce_weight": 0.0, "weight": 1.0, "weight_decay": 1e-4}
    options = {key: value for key, value in setting.items() if key not in (*arm, "learning_rate")}
    return arm | {key: value for key, value in setting.items() if key not in options} | {"options": options}


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on three seeds of its own, judged by validation alone."""
    config.minutes = 15.0
    config.seeds, config.first_seed = 3, 1000
    config.claims, config.test = (), False
    for task in config.tasks.values():
        task.arms = ConfigDict(
            {
                f"{name}_{n}": _arm(name, setting)
                for name, grid in GRID.items()
                for n, setting in enumerate(grid)
            }
        )


def _smoke(config: ConfigDict) -> None:
    """Seconds: the digits and four losses alone, two seeds, a few steps."""
    kept = ("smoothing", "kd", "reverse_kl", "jsd")
    config.minutes, config.seeds = 0.3, 2
    config.log_every, config.eval_every, config.checkpoint_every = 5, 10, 10
    digits = config.tasks.digits.to_dict()
    digits["arms"] = {name: digits["arms"][name] for name in kept}
    config.tasks = ConfigDict({"digits": digits})
    config.tasks.digits.teacher.update({"options": {"features": (16,)}, "steps": 20})
    config.tasks.digits.student.steps = 20
    config.claims = tuple(c for c in config.claims if c["arm"] in kept and c["versus"] in kept)
