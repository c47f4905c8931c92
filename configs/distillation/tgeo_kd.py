"""TGeo-KD: how much of a teacher that is often wrong, decided example by example, against simpler ways to decide it.

Less or More From Teacher: Exploiting Trilateral Geometry For Knowledge Distillation, 2023, arXiv 2312.15112.

    python -m experiments.run --config=configs/distillation/tgeo_kd.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/tgeo_kd.py:tune     # the search behind ARMS

A hierarchy of twenty procedural classes, every seed its own, a teacher that has learned labels of which a fifth were
flipped, a student that sees clean ones. Arms: the labels alone (`ce`), the best of constant shares of the teacher
(`fixed`), a random controller that never learns (`random`: all that the released code does), one learned share for all
(`one`), the learned controller of each example (`tgeo`), and the same with the mean of its ratios in the student's loss
(`mean_of_each`). In the last three a tenth of the images judges the student one step ahead; the students of all arms
train on the other nine tenths. `:digits` is 400 real images. `trust_gap` is the mean share where the teacher is right
less that where it is wrong, on the students' training images.
Other than in the paper: MLPs, wrong labels, answers of the teacher that are computed once. The paper: CIFAR-100,
ResNet-56 to ResNet-20, no label flipped; its recipe was not seen.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.distillation import _tasks as tasks

TASK = {
    "flipped": 0.2,
    "teacher": {"kind": "mlp", "features": (128, 128), "steps": 1000, "learning_rate": 3e-3,
                "weight_decay": 1e-4},
}  # fmt: skip
BASE = {
    "experiment": "distillation.fuse_teacher",
    "paper": "Less or More From Teacher: Exploiting Trilateral Geometry For KD (2023, arXiv 2312.15112)",
    "scale": "toy (32-unit MLP, procedural classes)",
    "seeds": 16, "first_seed": 200,
    "log_every": 300, "eval_every": 600, "checkpoint_every": 3000,
    "batch_size": 64,
    "upper_batch": 32,
    "virtual_rate": 0.1,  # of the student's virtual step
    "controller": (32, 16),  # widths
    "tasks": {
        "hierarchy": TASK | {
            "data": tasks.HIERARCHY_DATA | {"train": 2000, "size": 8},
            "held_out": 0.1,
            "student": {"kind": "mlp", "features": (32,), "steps": 3000},
        },
    },
}  # fmt: skip
ARM = {"method": "fixed", "learned": False, "alpha": 0.0, "temperature": 1.5, "learning_rate": 1e-2,
       "weight_decay": 1e-4, "controller_rate": 1e-2}  # fmt: skip
METHODS = {
    "ce": {},
    "fixed": {},
    "random": {"method": "each"},
    "one": {"method": "one", "learned": True},
    "mean_of_each": {"method": "mean_of_each", "learned": True},
    "tgeo": {"method": "each", "learned": True},
}
SETTINGS = {
    "ce": {"weight_decay": 1e-2},
    "fixed": {"alpha": 0.3},
    "random": {"weight_decay": 1e-3},
    "one": {"controller_rate": 1e-3},
    "mean_of_each": {"controller_rate": 0.1},
    "tgeo": {"controller_rate": 1e-2},
}
ARMS = {"hierarchy": SETTINGS}
RATES = {"learning_rate": (3e-3, 1e-2, 3e-2)}
ALONE = grid(RATES | {"weight_decay": (1e-5, 1e-4, 1e-3, 1e-2)})
LEARNED = grid(RATES | {"controller_rate": (1e-3, 1e-2, 3e-2, 0.1)})
GRID = {
    "fixed": grid(RATES | {"alpha": (0.1, 0.3, 0.5, 0.9)}),
    **dict.fromkeys(("ce", "random"), ALONE),
    **dict.fromkeys(("one", "mean_of_each", "tgeo"), LEARNED),
}
EDGES = {
    "ce": "no two decays differ by more than 0.003 at this rate",
    "controller_rate": "`one` wants to stay where it begins, `mean_of_each` has no preference: not widened",
}
GATES = {"needs": ("trust_gap", "room", "converged")}
CLAIMS = (
    headline("tgeo", "fixed", "tgeo beats the best constant share", **GATES),
    secondary("tgeo", "ce", "fusing beats the labels alone", **GATES),
    secondary("tgeo", "random", "a learned controller beats a random one", **GATES),
    ablation("tgeo", "one", "shares of each example beat one learned share", **GATES),
    ablation("tgeo", "mean_of_each", "shares of each example beat their own mean", **GATES),
    premise("tgeo", "random", "it learns to trust the teacher less where it is wrong", metric="seen/trust_gap",
            name="trust_gap", sesoi=0.05),
    room("teacher", "fixed", "a constant share leaves room", name="room", sesoi=0.02),
    premise("tgeo", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
DIGITS = TASK | {
    "data": {"source": "digits", "part": "rest", "train": 400, "val": 300, "test": 600},
    "held_out": 0.15,
    "student": {"kind": "mlp", "features": (8,), "steps": 3000},
    "arms": SETTINGS,
}
SMALL = {
    "data": {"source": "digits", "part": "rest", "train": 200, "val": 40, "test": 40},
    "teacher": TASK["teacher"] | {"features": (16,), "steps": 10},
    "student": {"kind": "mlp", "features": (4,), "steps": 10},
}

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"scale": "toy (8-unit MLP, digits)", "tasks": {"digits": DIGITS | SMALL},
           "arms": ("fixed", "mean_of_each", "tgeo"), "batch_size": 8, "upper_batch": 8, "controller": (4,)},
    tune={"minutes": 5.0}, long=("tasks.*.student.steps",),
    variants={"digits": {"scale": "toy (8-unit MLP, digits)", "tasks": {"digits": DIGITS}}},
)  # fmt: skip
