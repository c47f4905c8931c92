"""SeFAR: fine-grained actions from few labelled clips, by moderate perturbation of time and adaptive regulation.

SeFAR: Semi-supervised Fine-grained Action Recognition with Temporal Perturbation and Learning Stabilization, 2025,
arXiv 2501.01245.

    python -m experiments.run --config=configs/semi_supervised/sefar.py         # about 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/sefar.py:quick   # swings that frames often miss
    python -m experiments.run --config=configs/semi_supervised/sefar.py:tune    # the search behind ARMS

Procedural clips of a limb that swings in three directions; the order of the swings is the class, so that a clip played
backwards belongs to another class and a shuffled one to none. Three in a hundred clips have a label. SeFAR looks at
two pairs of frames and a context of four, reverses the pairs for the student, weighs pseudo-labels by the mean and
spread of ten passes of a teacher with dropout, and mixes clips. The arms take it apart: FixMatch (a fixed threshold,
no averaged teacher, no mixing), no perturbation of time, everything reversed, everything shuffled, a hard threshold in
the place of the weights. Floor: `supervised`; ceiling: `all_labels`.
Other than in the paper: procedural clips and a small net for FineGym and TimeSformer (30 epochs, 5 of them warm-up,
batches of 8, decay 0.9999). The teacher's probabilities are compared with the student's on mixtures (`mix_on`
"probs"); the authors' code compares them with its logits, which cost between 0.07 and 0.56 of validation accuracy in a
first search. The floor gained 0.2 there from strong views of its few labels, so that every arm may have them.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, room, secondary

VIEW = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "gain": 0.0, "noise": 0.0,
        "hole": 0}  # fmt: skip
BASE = {
    "experiment": "semi_supervised.classify",
    "paper": "SeFAR: Semi-supervised Fine-grained Action Recognition (2025, arXiv 2501.01245)",
    "scale": "toy (a small net, procedural clips)",
    "minutes": 5.0, "seeds": 6, "seeds_by": "map",
    "eval_every": 400, "checkpoint_every": 400,
    "steps": 1200,
    "labels_per_class": 3,
    "label_pool": 50,  # of how many per class each seed chooses
    "labelled_batch": 16,
    "unlabelled_batch": 32,
    "ema_decay": 0.99,
    "eval_chunk": 0,  # examples at a time, 0 for all
    "data": {
        "source": "clips", "split_seed": 0, "train": 600, "val": 300, "test": 1000, "num_frames": 16,
        "size": 12, "num_swings": 3, "difficulty": 1.0, "burst": (0.85, 1.0), "imbalance": 1.0,
    },
    "net": {"levels": (2, 2, 4), "frame": (48, 32), "level": 48, "fused": 48, "dropout": 0.5, "patch": 3, "views": 4},
    "views": {"weak": VIEW | {"shift": 0.05}, "strong": VIEW | {"shift": 0.1, "scale": 0.15, "hole": 3}},
}  # fmt: skip
ARM = {
    "labels": "few",
    "strong_labels": False,  # whether the labelled examples are seen in strong views
    "teacher": "ema",
    "method": "regulated",
    "threshold": 0.95,
    "threshold_decay": 0.99,
    "student_view": "strong",
    "perturb": "moderate",
    "passes": 10,
    "weight": 2.0,
    "mix_weight": 2.0,  # None mixes nothing
    "mix_on": "probs",
    "ramp": "sine",
    "ramp_length": 1.0,
    "warm_up": 5 / 30,  # share of the steps
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
}
METHODS = {
    "supervised": {"method": "none", "mix_weight": None},
    "fixmatch": {"teacher": "self", "method": "fixed", "perturb": "none", "passes": 1, "mix_weight": None,
                 "weight": 1.0, "ramp": "none", "warm_up": 0.0},
    "no_perturbation": {"perturb": "none"},
    "full_shuffle": {"perturb": "shuffle"},
    "full_reverse": {"perturb": "reverse"},
    "hard_threshold": {"method": "fixed"},
    "sefar": {},
    "all_labels": {"labels": "all", "method": "none", "mix_weight": None},
}  # fmt: skip
ARMS = {
    "supervised": {"strong_labels": True, "learning_rate": 3e-3},
    "fixmatch": {"strong_labels": True, "learning_rate": 3e-3},
    "no_perturbation": {"strong_labels": True, "weight": 2.0, "mix_weight": 2.0},
    "full_shuffle": {"strong_labels": True, "weight": 1.0, "mix_weight": 1.0},
    "full_reverse": {"strong_labels": True, "weight": 1.0, "mix_weight": 1.0},
    "hard_threshold": {"strong_labels": True, "weight": 1.0, "mix_weight": 1.0},
    "sefar": {"strong_labels": True, "weight": 2.0, "mix_weight": 2.0},
    "all_labels": {"strong_labels": True, "learning_rate": 1e-3},
}
PLAIN = grid({"strong_labels": (False, True), "learning_rate": (1e-3, 3e-3)})
MIXED = grid({"strong_labels": (False, True), ("weight", "mix_weight"): ((1.0, 1.0), (2.0, 2.0))})
GRID = dict.fromkeys(METHODS, MIXED) | dict.fromkeys(("supervised", "fixmatch", "all_labels"), PLAIN)
EDGES = {"*": TWO_VALUES}
CLAIMS = (
    secondary("sefar", "supervised", "SeFAR beats the few labels alone"),
    headline("sefar", "fixmatch", "SeFAR beats FixMatch"),
    secondary("sefar", "no_perturbation", "moderate perturbation of time beats none"),
    ablation("sefar", "full_shuffle", "moderate perturbation beats shuffling"),
    ablation("sefar", "full_reverse", "moderate perturbation beats reversing everything"),
    secondary("sefar", "hard_threshold", "weights by confidence and spread beat a threshold"),
    room("all_labels", "sefar", "there is room left to the ceiling"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "fixmatch", "sefar"), "arms.*.passes": lambda passes: min(passes, 2),
           "minutes": 0.5, "log_every": 3, "eval_every": 6, "checkpoint_every": 6, "steps": 6,
           "labels_per_class": 2, "label_pool": 4, "labelled_batch": 4, "unlabelled_batch": 4, "data.train": 60,
           "data.val": 24, "data.test": 24, "net.frame": (8,), "net.level": 8, "net.fused": 8, "net.views": 2},
    tune={"minutes": 12.0, "seeds": 4}, long=("steps",),
    variants={"quick": {"data.burst": (0.6, 1.0)}},
)  # fmt: skip
