"""What the comparisons of distillation share: sets of images with teachers and students, and an arm."""

MLP = {"kind": "mlp", "features": (256, 256), "learning_rate": 1e-3, "weight_decay": 1e-4}
HIERARCHY_DATA = {
    "source": "hierarchy", "train": 4000, "val": 2000, "test": 4000, "superclasses": 5,
    "classes_per_superclass": 4, "size": 12, "difficulty": 0.5,
}  # fmt: skip
HIERARCHY = {
    "data": HIERARCHY_DATA,
    "teacher": MLP | {"steps": 2000},
    "student": {"kind": "mlp", "features": (32,), "steps": 4000},
}
DIGITS = {
    "data": {"source": "digits", "part": "rest", "train": 900, "val": 220, "test": 226},
    "teacher": MLP | {"steps": 1200},
    "student": {"kind": "mlp", "features": (8,), "steps": 4000},
}
TUNING = {"source": "digits", "part": "tuning", "train": 250, "val": 199, "test": 0}
FASHION_DATA = {
    "source": "fashion_mnist",
    "path": "",
    "part": "rest",
    "pool": 2,
    "train": 10_000,
    "val": 2000,
}
FASHION_TASK = {
    "data": FASHION_DATA,
    "teacher": {"kind": "convnet", "features": (16, 32), "learning_rate": 3e-3, "weight_decay": 1e-4,
                "steps": 2000},
    "student": {"kind": "convnet", "features": (4, 8), "steps": 2000},
}  # fmt: skip
FASHION = {
    "minutes": 12.0,
    "scale": "small, real (ConvNet of 4 and 8 channels, Fashion-MNIST at 14 x 14)",
    "seeds": 8, "seeds_by": "map",
}  # fmt: skip
ARM = {"ce_weight": 0.0, "weight": 1.0, "learning_rate": 1e-2, "weight_decay": 1e-4, "options": {}}
RATES = {"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2)}
