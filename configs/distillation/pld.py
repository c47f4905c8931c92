"""Plackett-Luce distillation (PLD) against the classical logit losses, on real digits and on a class hierarchy.

Paper: PLD: A Choice-Theoretic List-Wise Knowledge Distillation, 2025, arXiv 2506.12542 (NeurIPS 2025).

    python -m experiments.run --config=configs/distillation/pld.py                  # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/pld.py:tune --publish   # the search behind CHOSEN

Tasks. Digits: scikit-learn's 1,797 images, an 8-unit student, a 256-256 teacher at 0.98. Hierarchy: twenty procedural
classes in five groups, a 16-unit student, a teacher at 0.93. One split per task: the intervals speak of initial
parameters and batch order, not of other test images. Every arm had six settings and five seeds of its own for tuning,
judged by validation accuracy; the ten seeds below decided nothing before.

Found (10 seeds, test accuracy). PLD beats uniform ListMLE on both tasks: +0.070 [+0.026, +0.114] and +0.077 [+0.003,
+0.151]. It does not beat tuned KD on digits, -0.006 [-0.017, +0.005]. On the hierarchy it was behind, -0.092 [-0.143,
-0.041], and KD ahead of cross-entropy; both are withdrawn, since after 6,000 steps in place of 1,500 they are +0.004
[-0.031, +0.039] and -0.010 [-0.057, +0.038]. Why: tuning chose temperature 1 for PLD's weights, where a sure teacher
gives the label's own place a weight of 0.99 (digits) and 0.84 (hierarchy), so PLD is close to cross-entropy; softer
weights spread over many places of the ranking, which a student this small cannot follow. DIST, which asks for
correlation alone, is far ahead on the hierarchy (0.63 against 0.54 for KD and 0.46 for cross-entropy). How sure: the
students are narrow and 1,500 steps are short, so seeds scatter widely; the paper's own scale (`:paper`, CIFAR-100) was
not run.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "fashion", "fashion_tune", "paper")

# Six settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
GRID = {
    "ce": [
        {"learning_rate": rate, "weight_decay": decay}
        for rate in (1e-3, 3e-3, 1e-2)
        for decay in (1e-4, 1e-2)
    ],
    "kd": [
        {"learning_rate": rate, "ce_weight": 1 - weight, "weight": weight, "temperature": temperature}
        for rate in (3e-3, 1e-2)
        for weight, temperature in ((0.5, 2.0), (0.9, 2.0), (0.9, 4.0))
    ],
    "dkd": [
        {"learning_rate": rate, "ce_weight": 1.0, "temperature": temperature, "alpha": 1.0, "beta": beta}
        for rate in (3e-3, 1e-2)
        for beta, temperature in ((1.0, 2.0), (1.0, 4.0), (8.0, 4.0))
    ],
    "dist": [
        {"learning_rate": rate, "ce_weight": ce_weight, "beta": weight, "gamma": weight}
        for rate in (3e-3, 1e-2)
        for ce_weight, weight in ((0.1, 0.45), (1.0, 1.0), (1.0, 2.0))
    ],
    "listmle": [
        {"learning_rate": rate, "weight_decay": decay}
        for rate in (1e-3, 3e-3, 1e-2)
        for decay in (1e-4, 1e-2)
    ],
    "pld": [
        {"learning_rate": rate, "temperature": temperature}
        for rate in (3e-3, 1e-2)
        for temperature in (1.0, 2.0, 4.0)
    ],
}

# The setting with the best mean validation accuracy in `:tune` (results/distillation/pld-tune.json).
CHOSEN = {
    "digits": {"ce": 2, "kd": 5, "dkd": 0, "dist": 5, "listmle": 2, "pld": 0},
    "hierarchy": {"ce": 2, "kd": 5, "dkd": 3, "dist": 3, "listmle": 2, "pld": 0},
}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke", "tune", "fashion", "fashion_tune" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.train_student",
            "paper": "PLD: A Choice-Theoretic List-Wise Knowledge Distillation (2025, arXiv 2506.12542)",
            "scale": "toy (MLPs of 8 and 16 units; digits, procedural classes)",
            "minutes": 3.0,
            "seeds": 10,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 1, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 300,
            "checkpoint_every": 300,
            "batch_size": 64,
            "test": True,  # False keeps the test split out of the run
            "augment": "none",  # "crop_flip" shifts by up to four pixels and mirrors
            "tasks": {"digits": _digits(), "hierarchy": _hierarchy()},
        }
    )
    config.claims = (
        _claim("headline", "pld", "kd"),
        _claim("secondary", "pld", "listmle"),
        _claim("premise", "kd", "ce"),
    )
    if variant:
        {
            "smoke": _smoke,
            "tune": _tune,
            "fashion": _use_fashion,
            "fashion_tune": _fashion_tune,
            "paper": _paper,
        }[variant](config)
    return config


def _claim(kind: str, arm: str, versus: str) -> dict:
    return {"name": f"{arm}_over_{versus}", "text": f"{arm} beats {versus}", "kind": kind, "metric": "test/accuracy",
            "arm": arm, "versus": versus}  # fmt: skip


def _digits() -> dict:
    """scikit-learn's 1,797 digits of 8 x 8."""
    return {
        "data": {"source": "digits", "split_seed": 0},
        "teacher": _teacher("mlp", {"features": (256, 256)}, steps=900),
        "student": {"net": "mlp", "options": {"features": (8,)}, "steps": 1500},
        "arms": _chosen("digits"),
    }


def _hierarchy() -> dict:
    """Twenty procedural classes in five groups: beyond the label, a teacher knows which classes are near."""
    return {
        "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 5000,
                 "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
        "teacher": _teacher("mlp", {"features": (256, 256)}, steps=1500),
        "student": {"net": "mlp", "options": {"features": (16,)}, "steps": 1500},
        "arms": _chosen("hierarchy"),
    }  # fmt: skip


def _fashion() -> dict:
    """Fashion-MNIST, all 70,000: its own test set, a sixth of the rest for validation.

    The settings are those chosen on the digits, for every arm; `:fashion_tune` searches for its own.
    """
    return {
        "data": {"source": "fashion_mnist", "path": "", "split_seed": 0, "fractions": (5 / 6, 1 / 6, 0.0)},
        "teacher": _teacher("mlp", {"features": (256, 256)}, steps=3000),
        "student": {"net": "mlp", "options": {"features": (16,)}, "steps": 3000},
        "arms": _chosen("digits"),
    }


def _teacher(net: str, options: dict, *, steps: int) -> dict:
    return {"net": net, "options": options, "steps": steps, "learning_rate": 1e-3, "weight_decay": 1e-4}


def _arm(
    loss: str, *, learning_rate: float, ce_weight: float = 0.0, weight: float = 1.0, weight_decay: float = 1e-4,
    **options: float,
) -> dict:  # fmt: skip
    return {"loss": loss, "ce_weight": ce_weight, "weight": weight, "learning_rate": learning_rate,
            "weight_decay": weight_decay, "options": options}  # fmt: skip


def _chosen(task: str) -> dict:
    return {name: _arm(name, **settings[CHOSEN[task][name]]) for name, settings in GRID.items()}


def _all_settings(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on five seeds of its own, judged by validation alone."""
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test = False
    arms = {
        f"{name}_{n}": _arm(name, **setting) for name, grid in GRID.items() for n, setting in enumerate(grid)
    }
    for task in config.tasks.values():
        task.arms = ConfigDict(arms)


def _tune(config: ConfigDict) -> None:
    config.minutes = 12.0
    _all_settings(config)


def _use_fashion(config: ConfigDict) -> None:
    config.minutes = 8.0
    config.scale = "small, real (16-unit MLP, Fashion-MNIST)"
    config.tasks = ConfigDict({"fashion": _fashion()})


def _fashion_tune(config: ConfigDict) -> None:
    _use_fashion(config)
    config.minutes = 20.0
    _all_settings(config)


def _smoke(config: ConfigDict) -> None:
    """Seconds: the digits alone, two seeds, a few steps."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 5, 10, 10
    del config.tasks["hierarchy"]
    config.tasks.digits.teacher.update({"options": {"features": (16,)}, "steps": 20})
    config.tasks.digits.student.steps = 20


def _paper(config: ConfigDict) -> None:
    """CIFAR-100, ResNet-56 to ResNet-20, AdamW 1e-3 cosine, weight decay 0.5, batch 128, 250 epochs, 3 runs.

    Settings of the paper's section 5.1 and table 6; the images are the user's:
    `--config.tasks.cifar100.data.path=cifar100.npz` (train_image, train_label, test_image, test_label).
    """
    config.scale = "paper"
    steps = 250 * 50_000 // 128
    settings = {
        "ce": {},
        "kd": {"ce_weight": 0.1, "weight": 0.9, "temperature": 4.0},
        "dkd": {"ce_weight": 1.0, "temperature": 4.0, "alpha": 1.0, "beta": 8.0},
        "dist": {"ce_weight": 0.1, "beta": 0.45, "gamma": 0.45},
        "listmle": {},
        "pld": {"temperature": 4.0},
    }
    teacher = _teacher("resnet", {"blocks": (9, 9, 9)}, steps=steps) | {"weight_decay": 0.5}
    config.minutes = 600.0
    config.seeds, config.seeds_by = 3, "map"
    config.batch_size, config.augment = 128, "crop_flip"
    config.log_every, config.eval_every, config.checkpoint_every = 390, 3900, 3900
    config.tasks = ConfigDict(
        {
            "cifar100": {
                "data": {"source": "npz", "path": "", "split_seed": 0, "val_fraction": 0.1},
                "teacher": teacher,
                "student": {"net": "resnet", "options": {"blocks": (3, 3, 3)}, "steps": steps},
                "arms": {
                    name: _arm(name, learning_rate=1e-3, weight_decay=0.5, **setting)
                    for name, setting in settings.items()
                },
            }
        }
    )
