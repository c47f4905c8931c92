"""SeFAR: fine-grained actions from few labelled clips, by moderate perturbation of time and adaptive regulation.

SeFAR: Semi-supervised Fine-grained Action Recognition with Temporal Perturbation and Learning Stabilization, 2025,
arXiv 2501.01245.

    python -m experiments.run --config=configs/semi_supervised/sefar.py         # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/semi_supervised/sefar.py:map     # classes that are another's reversal
    python -m experiments.run --config=configs/semi_supervised/sefar.py:tune    # the search behind ARMS

Procedural clips of a limb that swings in four directions; the order of the swings is the class. Every seed has eight of
the 24 orders for classes, of which a quarter are another's reversal (`:map`: none to all), clips of its own, and two
labelled clips of each class among 600. SeFAR looks at two pairs of frames and a context of four, reverses the pairs for
the student, weighs pseudo-labels by the mean and spread of ten passes of a teacher with dropout, and mixes clips. The
arms take it apart: FixMatch (a fixed threshold, no averaged teacher, no mixing), no perturbation of time, everything
reversed, everything shuffled, a hard threshold in the place of the weights. Floor: `supervised`; ceiling: `all_labels`.
Other than in the paper: procedural clips and a small net for FineGym and TimeSformer (30 epochs, 5 of them warm-up,
batches of 8, decay 0.9999). The teacher's probabilities are compared with the student's on mixtures (`mix_on` "probs");
the authors' code compares them with its logits. The labelled clips of every arm are seen in strong views.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

VIEW = {"flip": False, "shift": 0.0, "rotate": 0.0, "scale": 0.0, "shear": 0.0, "gain": 0.0, "noise": 0.0,
        "hole": 0}  # fmt: skip
BASE = {
    "experiment": "semi_supervised.classify",
    "paper": "SeFAR: Semi-supervised Fine-grained Action Recognition (2025, arXiv 2501.01245)",
    "scale": "toy (a small net, procedural clips)",
    "minutes": 4.0, "seeds": 16, "first_seed": 300, "seeds_by": "map",
    "open_edges": ("all_labels: learning_rate",),
    "eval_every": 300, "checkpoint_every": 1500,
    "steps": 1500,
    "labels_per_class": 2,
    "labelled_batch": 8, "unlabelled_batch": 24,
    "ema_decay": 0.99,
    "eval_chunk": 0,  # examples at a time, 0 for all
    "data": {
        "source": "clips", "train": 600, "val": 300, "test": 2000, "num_frames": 16, "size": 12, "num_swings": 4,
        "num_classes": 8, "reversals": 0.25, "difficulty": 0.7, "burst": (0.85, 1.0),
    },
    "net": {"levels": (2, 2, 4), "frame": (48, 32), "level": 48, "fused": 48, "dropout": 0.5, "patch": 3, "views": 2},
    "views": {"weak": VIEW | {"shift": 0.05}, "strong": VIEW | {"shift": 0.1, "scale": 0.15, "hole": 3}},
    "tasks": {"clips": {"data": {"reversals": 0.25}}},
}  # fmt: skip
ARM = {"labels": "few", "strong_labels": True, "teacher": "ema", "method": "regulated", "threshold": 0.95,
       "threshold_decay": 0.99, "student_view": "strong", "perturb": "moderate", "passes": 10, "weight": 2.0,
       "mix_weight": 2.0, "mix_on": "probs", "ramp": "sine", "ramp_length": 1.0, "warm_up": 5 / 30,
       "learning_rate": 3e-3, "weight_decay": 1e-2}  # fmt: skip
NO_MIXTURES = {"mix_weight": None}
METHODS = {
    "supervised": NO_MIXTURES | {"method": "none"},
    "fixmatch": NO_MIXTURES | {"teacher": "self", "method": "fixed", "perturb": "none", "passes": 1, "weight": 1.0,
                               "ramp": "none", "warm_up": 0.0},
    "no_perturbation": {"perturb": "none"},
    "full_shuffle": {"perturb": "shuffle"},
    "full_reverse": {"perturb": "reverse"},
    "hard_threshold": {"method": "fixed"},
    "sefar": {},
    "all_labels": NO_MIXTURES | {"labels": "all", "method": "none"},
}  # fmt: skip
SEFAR = {"learning_rate": 1e-2, "weight": 10.0, "mix_weight": 10.0}
ARMS = {
    "supervised": {"learning_rate": 3e-3, "weight_decay": 1.0},
    "fixmatch": {"learning_rate": 3e-3, "weight": 1.0},
    **dict.fromkeys(("full_shuffle", "full_reverse", "sefar"), SEFAR),
    "no_perturbation": {"learning_rate": 1e-2, "weight": 3.0, "mix_weight": 3.0},
    "hard_threshold": {"learning_rate": 1e-2, "weight": 0.3, "mix_weight": 0.3},
    "all_labels": {"learning_rate": 1e-3, "weight_decay": 1.0},
}  # fmt: skip
EDGES = {"all_labels": "0.001 is the smallest rate: the ceiling is far above FixMatch as it is, not widened"}
RATES, FAST = {"learning_rate": (1e-3, 3e-3, 1e-2)}, {"learning_rate": (3e-3, 1e-2, 3e-2)}
ALONE = grid(RATES | {"weight_decay": (1e-2, 1e-1, 1.0, 3.0)})
BOTH = ("weight", "mix_weight")
BELIEVED = grid(FAST | {BOTH: ((1.0, 1.0), (3.0, 3.0), (10.0, 10.0), (30.0, 30.0))})
GRID = {
    "supervised": ALONE,
    "fixmatch": grid(RATES | {"weight": (0.1, 0.3, 1.0, 3.0)}),
    **dict.fromkeys(("no_perturbation", "sefar"), BELIEVED),
    "hard_threshold": grid(FAST | {BOTH: ((0.1, 0.1), (0.3, 0.3), (1.0, 1.0), (3.0, 3.0))}),
    "all_labels": ALONE,
}
GATES = {"needs": ("fixmatch_helps", "room", "converged")}
CLAIMS = (
    headline("sefar", "fixmatch", "SeFAR beats FixMatch", source="abstract", **GATES),
    secondary("sefar", "no_perturbation", "moderate perturbation of time beats none", source="abstract", **GATES),
    secondary("sefar", "supervised", "SeFAR beats the few labels alone", needs=("room", "converged")),
    secondary("sefar", "hard_threshold", "weights by spread beat a threshold", source="abstract", **GATES),
    ablation("sefar", "full_shuffle", "moderate perturbation beats shuffling", **GATES),
    ablation("sefar", "full_reverse", "moderate perturbation beats reversing everything", **GATES),
    premise("fixmatch", "supervised", "FixMatch is not below the few labels alone", name="fixmatch_helps",
            relation="not_worse"),
    room("all_labels", "fixmatch", "there is room above FixMatch", name="room", sesoi=0.04),
    premise("sefar", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "fixmatch", "sefar", "all_labels"), "arms.*.passes": lambda passes: min(passes, 2),
           "minutes": 0.5, "log_every": 3, "eval_every": 6, "checkpoint_every": 6, "steps": 6,
           "labelled_batch": 4, "unlabelled_batch": 4, "data.train": 60,
           "data.val": 24, "data.test": 24, "net.frame": (8,), "net.level": 8, "net.fused": 8, "net.views": 2},
    tune={"minutes": 8.0}, long=("steps",),
    map=("share of classes that are another's reversal", "tasks.clips.data.reversals", SHARES),
)  # fmt: skip
