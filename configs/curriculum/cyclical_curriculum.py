"""Cyclical curriculum learning (CCL): a share of the examples that goes up and down, drawn by how easy they are.

CCL: Cyclical Curriculum Learning, 2022, arXiv 2202.05531 (IEEE TNNLS 2023).

    python -m experiments.run --config=configs/curriculum/cyclical_curriculum.py        # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/curriculum/cyclical_curriculum.py:tune   # the search behind ARMS
    python -m experiments.run --config=configs/curriculum/cyclical_curriculum.py:map    # over shares of wrong labels

Handwritten digits; in `noisy` a fifth of the training labels is wrong. A net that was trained on all examples scores
them by its loss; `ccl_easy` draws epochs of a quarter, a half, all, a half, a quarter, ... of them, with probability
proportional to 1 / loss, `ccl_random` and `ccl_hard` with equal ones and in proportion to the loss. `constant_easy`
draws as `ccl_easy` does, half of the examples in every epoch: what it gains is due to the weights, not the cycle.
`growing_easy` has a quarter, then a half, then all. All have seen equally many examples at the end, which is when they
are scored: the paper's best epoch would favour whoever has more of them. `vanilla_twice` has the scorer's steps, too.
Each seed has a split of its own. `:fashion` is Fashion-MNIST at 14 x 14, with its own test file.
Other than in the paper: one small MLP and one or two sets of images for fifteen nets and eighteen sets; AdamW.
"""

from configs._comparison import TUNE, ablation, comparison, grid, headline, premise, room, secondary

SCORER = {"method": "constant", "prefer": "random", "share": 1.0, "passes": 30.0, "learning_rate": 1e-3,
          "weight_decay": 1e-3}  # fmt: skip
TASK = {
    "wrong_labels": 0.0,  # share of the training labels
    "data": {"source": "digits", "path": "", "pool": 1, "classes": (), "part": "rest", "train": 800,
             "val": 200, "test": 340},
    "net": {"kind": "mlp", "features": (64, 64)},
    "scorer": SCORER,
}  # fmt: skip
BASE = {
    "experiment": "curriculum.pace_samples",
    "paper": "CCL: Cyclical Curriculum Learning (2022, arXiv 2202.05531)",
    "scale": "toy (64-64-unit MLP, digits)", "minutes": 2.0, "seeds": 16,
    "log_every": 50, "eval_every": 50, "checkpoint_every": 500,
    "batch_size": 32,
    "tasks": {"clean": TASK, "noisy": TASK | {"wrong_labels": 0.2}},
}  # fmt: skip
EASY = {"method": "cycle", "prefer": "easy", "share": 0.25}
METHODS = {
    "vanilla": {}, "vanilla_twice": {"passes": 60.0},
    "ccl_easy": EASY, "ccl_random": EASY | {"prefer": "random"}, "ccl_hard": EASY | {"prefer": "hard"},
    "constant_easy": EASY | {"method": "constant", "share": 0.5}, "growing_easy": EASY | {"method": "growing"},
}  # fmt: skip
with_decay = lambda rate, decay: {"learning_rate": rate, "weight_decay": decay}
ARMS = {
    "clean": {
        "vanilla": with_decay(0.01, 0.1), "vanilla_twice": with_decay(0.003, 0.1),
        "ccl_easy": with_decay(0.003, 0.001), "ccl_random": with_decay(0.01, 0.001),
        "ccl_hard": with_decay(0.003, 1.0), "constant_easy": with_decay(0.01, 0.1),
        "growing_easy": with_decay(0.003, 0.001),
    },
    "noisy": {
        "vanilla": with_decay(0.003, 1.0), "vanilla_twice": with_decay(0.001, 1.0),
        "ccl_easy": with_decay(0.001, 0.1), "ccl_random": with_decay(0.001, 1.0),
        "ccl_hard": with_decay(0.001, 1.0), "constant_easy": with_decay(0.003, 1.0),
        "growing_easy": with_decay(0.001, 1.0),
    },
}  # fmt: skip
KNOBS = grid({"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2), "weight_decay": (1e-3, 0.1, 1.0, 3.0)})
GRID = dict.fromkeys(METHODS, KNOBS)
EDGES = {"weight_decay": "0.001 shrinks no weight by more than a hundredth over the run"}
GATES = {"needs": ("room", "easier", "converged")}
CLAIMS = (
    headline("ccl_easy", "vanilla", "a cycle of easy examples beats all of them at once", **GATES),
    secondary("ccl_easy", "constant_easy", "it beats drawing easy examples in equal shares", **GATES),
    secondary("ccl_easy", "growing_easy", "it beats a share that only grows", **GATES),
    ablation("ccl_easy", "ccl_random", "easy examples are needed", **GATES),
    ablation("ccl_easy", "vanilla_twice", "it beats twice the steps on all examples", needs=("room", "easier")),
    room(1.0, "vanilla", "there are errors left to avoid", name="room", sesoi=0.02),
    premise("vanilla", "ccl_easy", "what is drawn is easier", name="easier", metric="drawn/difficulty", sesoi=0.02),
    premise("vanilla", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
)  # fmt: skip

FASHION = {
    "scale": "small, real (64-64-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 4.0,
    "tasks.*.data.source": "fashion_mnist", "tasks.*.data.pool": 2, "tasks.*.data.train": 1600,
    "tasks.*.data.val": 1000, "batch_size": 64,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=SCORER, methods=METHODS,
    smoke={"arms": ("vanilla", "ccl_easy", "constant_easy"), "tasks": ("noisy",), "batch_size": 8, "log_every": 4,
           "eval_every": 4, "checkpoint_every": 8,
           "tasks.*.data.train": 64, "tasks.*.data.val": 40, "tasks.*.data.test": 40, "tasks.*.net.features": (8,),
           "tasks.*.scorer.passes": 2.0, "tasks.*.arms.*.passes": 2.0},
    tune={"minutes": 3.0, "tasks.*.data.part": "tuning", "tasks.*.data.train": 320, "tasks.*.data.val": 130,
          "tasks.*.data.test": 0},
    long=("tasks.*.scorer.passes", "tasks.*.arms.*.passes"),
    map=("share of wrong labels", "tasks.noisy.wrong_labels", (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)),
    variants={"fashion": FASHION, "fashion_tune": FASHION | TUNE | {"grid": GRID, "tasks.*.data.part": "tuning"}},
)  # fmt: skip
