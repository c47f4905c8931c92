"""Which distillation loss should I use? Every loss on logits of this library, equally tuned, on the same three tasks.

    python -m experiments.run --config=configs/distillation/all.py          # about 8 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/all.py:tune     # the search behind ARMS

The digits (300 images, 10 units), twenty classes in a hierarchy (32 units, PLD's task) and 5,000 images of
Fashion-MNIST (16 units; fetch it once with `--download`). Every seed has its own split, its own classes of the
hierarchy. `ce` has no teacher, `smoothing` replaces it by a constant. Where a loss may stand beside cross-entropy, its
settings say how much; ListMLE and PLD hold the label themselves.

KD (2015, arXiv 1503.02531), reverse KL (MiniLLM, 2023, arXiv 2306.08543), JSD (GKD, 2023, arXiv 2306.13649), DKD
(2022, arXiv 2203.08679), DIST (2022, arXiv 2205.10536), BinaryKL (DHKD, 2024, arXiv 2411.08937), ListMLE (2008), PLD
(2025, arXiv 2506.12542).
"""

from configs._comparison import benchmark, comparison, grid
from configs.distillation import _tasks as tasks
from configs.distillation import pld

STUDENT = {"kind": "mlp", "steps": 4000}
BASE = pld.BASE | {
    "paper": "Which distillation loss? All losses on logits, equally tuned",
    "scale": "toy (MLPs of 10 to 32 units; digits, Fashion-MNIST, procedural classes)",
    "minutes": 8.0,
    "seeds": 8,
    "tasks": {
        "digits": tasks.DIGITS | {
            "data": tasks.DIGITS["data"] | {"train": 300, "val": 400, "test": 500},
            "student": STUDENT | {"features": (10,)},
        },
        "hierarchy": tasks.HIERARCHY,
        "fashion": {
            "data": tasks.FASHION_DATA | {"train": 5000},
            "teacher": tasks.DIGITS["teacher"],
            "student": STUDENT | {"features": (16,)},
        },
    },
}  # fmt: skip
WARM = {"options": {"temperature": 2.0}}
METHODS = {
    "ce": {}, "smoothing": {}, "kd": {"ce_weight": 0.1, "weight": 0.9}, "reverse_kl": WARM, "jsd": WARM,
    "dkd": {"ce_weight": 1.0, "options": {"temperature": 4.0, "alpha": 1.0}},
    "dist": {}, "binary_kl": WARM, "binary_kl_norm": WARM, "listmle": {}, "pld": {},
}  # fmt: skip
METHODS = {name: {"method": name} | own for name, own in METHODS.items()}
LOW, SLOW, FAST, HIGH = ({"learning_rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2))
MOST, HALF, LEAST = (
    {"ce_weight": own, "weight": weight} for own, weight in ((0.1, 0.9), (0.5, 0.5), (0.9, 0.1))
)
LESS = {"ce_weight": 0.1, "options.beta": 0.45, "options.gamma": 0.45}
MORE = {"ce_weight": 1.0, "options.beta": 2.0, "options.gamma": 2.0}
ARMS = {
    "digits": {
        "ce": SLOW | {"weight_decay": 1e-5}, "smoothing": LOW | {"options.alpha": 0.05},
        "kd": SLOW | {"options.temperature": 4.0}, "reverse_kl": SLOW | HALF, "jsd": LOW | MOST,
        "dkd": FAST | {"options.beta": 0.3}, "dist": LOW | LESS, "binary_kl": SLOW | LEAST,
        "binary_kl_norm": SLOW | HALF, "listmle": SLOW | {"weight_decay": 1e-5},
        "pld": LOW | {"options.temperature": 4.0},
    },
    "hierarchy": {
        "ce": FAST | {"weight_decay": 1e-4}, "smoothing": FAST | {"options.alpha": 0.02},
        "kd": FAST | {"options.temperature": 2.0}, "reverse_kl": FAST | MOST, "jsd": FAST | MOST,
        "dkd": FAST | {"options.beta": 1.0}, "dist": FAST | MORE, "binary_kl": FAST | LEAST,
        "binary_kl_norm": FAST | LEAST, "listmle": SLOW | {"weight_decay": 1e-2},
        "pld": FAST | {"options.temperature": 2.0},
    },
    "fashion": {
        "ce": FAST | {"weight_decay": 1e-2}, "smoothing": FAST | {"options.alpha": 0.05},
        "kd": HIGH | {"options.temperature": 1.0}, "reverse_kl": FAST | HALF, "jsd": FAST | MOST,
        "dkd": HIGH | {"options.beta": 0.3}, "dist": HIGH | MORE, "binary_kl": FAST | LEAST,
        "binary_kl_norm": FAST | LEAST, "listmle": SLOW | {"weight_decay": 1e-4},
        "pld": FAST | {"options.temperature": 1.0},
    },
}  # fmt: skip
RATES = tasks.RATES
ALONE = grid(RATES | {"weight_decay": (1e-5, 1e-4, 1e-2)})
MIXED = grid(RATES | {("ce_weight", "weight"): ((0.1, 0.9), (0.5, 0.5), (0.9, 0.1))})
TERMS = ("ce_weight", "options.beta", "options.gamma")
GRID = {
    "ce": ALONE,
    "smoothing": grid(RATES | {"options.alpha": (0.02, 0.05, 0.2)}),
    "kd": grid(RATES | {"options.temperature": (1.0, 2.0, 4.0)}),
    "reverse_kl": MIXED,
    "jsd": MIXED,
    "dkd": grid(RATES | {"options.beta": (0.3, 1.0, 4.0)}),
    "dist": grid(RATES | {TERMS: ((0.1, 0.45, 0.45), (1.0, 1.0, 1.0), (1.0, 2.0, 2.0))}),
    "binary_kl": MIXED,
    "binary_kl_norm": MIXED,
    "listmle": ALONE,
    "pld": grid(RATES | {"options.temperature": (1.0, 2.0, 4.0)}),
}
LOSSES = [name for name in METHODS if name not in ("ce", "smoothing", "kd")]
EDGES = {
    "learning_rate": "each end of the rates won on one of three tasks; what lies beyond was not tried",
    **dict.fromkeys(("ce_weight", "weight", "options.beta", "options.gamma"), "three mixtures: not widened"),
    **dict.fromkeys(("options.temperature", "options.alpha", "weight_decay"), "three values: not widened"),
}
CLAIMS = (
    *(benchmark(loss, versus) for versus in ("smoothing", "kd") for loss in LOSSES),
    benchmark("kd", "smoothing"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=tasks.ARM, methods=METHODS,
    smoke={"tasks": ("digits",), "arms": ("smoothing", "kd", "reverse_kl", "jsd"), "tasks.digits.student.steps": 20,
           "tasks.digits.teacher.features": (16,), "tasks.digits.teacher.steps": 20},
    tune={"minutes": 15.0, "tasks.digits.data": tasks.TUNING, "tasks.fashion.data.part": "tuning"},
    long=("tasks.*.student.steps",),
)  # fmt: skip
