"""Plackett-Luce distillation (PLD) against the classical logit losses, on real digits and on a class hierarchy.

Paper: PLD: A Choice-Theoretic List-Wise Knowledge Distillation, 2025, arXiv 2506.12542 (NeurIPS 2025).
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "fashion", "paper")


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke", "tune", "fashion" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.train_student",
            "paper": "PLD: A Choice-Theoretic List-Wise Knowledge Distillation (2025, arXiv 2506.12542)",
            "minutes": 3.0,
            "seeds": 10,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 1, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 300,
            "checkpoint_every": 300,
            "batch_size": 64,
            "tasks": {"digits": digits(), "hierarchy": hierarchy()},
        }
    )
    config.claims = (
        {"text": "pld beats kd", "metric": "test/accuracy", "arm": "pld", "versus": "kd"},
        {"text": "pld beats listmle", "metric": "test/accuracy", "arm": "pld", "versus": "listmle"},
        {"text": "kd beats ce", "metric": "test/accuracy", "arm": "kd", "versus": "ce"},
    )
    if variant:
        globals()[f"_{variant}"](config)
    return config


def digits() -> ConfigDict:
    """scikit-learn's 1,797 digits of 8 x 8."""
    return ConfigDict(
        {
            "data": {"source": "digits", "split_seed": 0},
            "teacher": _net("mlp", {"features": (256, 256)}, steps=900),
            "student": {"net": "mlp", "options": {"features": (8,)}, "steps": 1500},
            "arms": _arms(),
        }
    )


def hierarchy() -> ConfigDict:
    """Twenty procedural classes in five groups: what a teacher knows beyond the label is which group is near."""
    return ConfigDict(
        {
            "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 5000,
                     "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
            "teacher": _net("mlp", {"features": (256, 256)}, steps=1500),
            "student": {"net": "mlp", "options": {"features": (16,)}, "steps": 1500},
            "arms": _arms(),
        }
    )  # fmt: skip


def _net(net: str, options: dict, *, steps: int, learning_rate: float = 1e-3) -> dict:
    return {
        "net": net,
        "options": options,
        "steps": steps,
        "learning_rate": learning_rate,
        "weight_decay": 1e-4,
    }


def _arms() -> dict:
    return {
        "ce": _arm("ce", learning_rate=3e-3),
        "kd": _arm("kd", ce_weight=0.1, weight=0.9, learning_rate=3e-3, temperature=4.0),
        "dkd": _arm(
            "dkd", ce_weight=1.0, weight=1.0, learning_rate=3e-3, temperature=4.0, alpha=1.0, beta=1.0
        ),
        "dist": _arm("dist", ce_weight=0.1, weight=1.0, learning_rate=3e-3, beta=0.45, gamma=0.45),
        "listmle": _arm("listmle", learning_rate=3e-3),
        "pld": _arm("pld", learning_rate=3e-3, temperature=4.0),
    }


def _arm(
    loss: str, *, learning_rate: float, ce_weight: float = 0.0, weight: float = 1.0, **options: float
) -> dict:
    return {"loss": loss, "ce_weight": ce_weight, "weight": weight, "learning_rate": learning_rate,
            "weight_decay": 1e-4, "options": options}  # fmt: skip


def _smoke(config: ConfigDict) -> None:
    """Seconds: the digits alone, two seeds, a few steps."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 5, 10, 10
    del config.tasks["hierarchy"]
    config.tasks.digits.teacher.update({"options": {"features": (16,)}, "steps": 20})
    config.tasks.digits.student.steps = 20
