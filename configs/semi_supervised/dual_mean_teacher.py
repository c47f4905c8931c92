"""Dual Mean-Teacher (DMT): two teachers with different nets must agree before either is believed.

Dual Mean-Teacher: An Unbiased Semi-Supervised Framework for Audio-Visual Source Localization, 2023, arXiv 2403.03145.

    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py             # about 4 minutes
    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py:ablations   # other rules
    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py:tune        # the search behind ARMS

Procedural frames of 16 x 16 pixels in which one of several objects is heard; every seed has its own objects, sounds and
frames, and 20 of 700 have the box of the one that sounds. AP50 is the share of frames whose map covers the box with an
IoU of one half. Every arm trains the same two nets from one warm-up on the boxes, for as many steps; `ap50` is that of
their teachers' mean, `ap50_one` that of the first alone. Arms: `supervised`, the boxes alone; `contrastive`, the match
of frame and sound besides, which all others have too; `independent`, two mean teachers, each believed by its own
student where it is confident; `dmt`, the intersection of both on frames on which they agree; `ceiling`, all boxes.
`:ablations`: other rules for two teachers: `union_all` (all of either's map), `union` (on the same frames as `dmt`) and
`filter_only` (the same frames, each student follows its own teacher).
Other than in the paper: procedural frames and sounds for Flickr-SoundNet and VGG-SS (144,000 pairs, 4,250 with boxes),
small nets for ResNet-18 and VGGish. No code was released: the paper's thresholds (0.6, 0.7) are our recollection.
"""

from configs._comparison import ablation, benchmark, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "semi_supervised.localize",
    "paper": "Dual Mean-Teacher for audio-visual source localization (2023, arXiv 2403.03145)",
    "scale": "toy (small nets, procedural frames and sounds)",
    "minutes": 4.0, "seeds": 16, "first_seed": 200, "seeds_by": "map",
    "eval_every": 400, "checkpoint_every": 2000,
    "open_edges": ("contrastive: learning_rate", "contrastive: contrast"),
    "shown": "dmt",  # the arm of examples.png
    "data": {"train": 700, "labelled": 20, "val": 400, "test": 2000, "num_classes": 8, "size": 16, "audio_dim": 16,
             "difficulty": 0.5},
    "small_area": 24.0,  # pixels; a scene whose object is smaller counts in ap50_small
    # `b` has another kernel, width and depth than `a`.
    "nets": {
        "a": {"channels": (12, 16), "first_kernel": 2, "dim": 12, "temperature": 0.12},
        "b": {"channels": (8, 12, 12), "first_kernel": 4, "dim": 12, "temperature": 0.12},
    },
    "labelled_batch": 6, "unlabelled_batch": 12,
    "strong": {"colour": 0.3, "noise": 0.08, "hole": 4},
    "warm_up": {"steps": 300, "learning_rate": 3e-3},
    "weight_decay": 1e-4,  # of the warm-up
    "steps": 2000,
    "ema_decay": 0.99,
    "contrast_temperature": 0.1,
    "arms": ("supervised", "contrastive", "independent", "dmt", "ceiling"),
}  # fmt: skip
ARM = {"nets": ("a", "b"), "contrast": 0.03, "weight": 1.0, "threshold": 0.5, "min_agreement": 0.6,
       "weight_decay": 1e-4}  # fmt: skip
METHODS = {
    "supervised": {"method": "none", "contrast": None},  # None: without the match of frame and sound
    "contrastive": {"method": "none"},
    "independent": {"method": "confidence"},
    "union_all": {"method": "union_all"}, "union": {"method": "union"}, "filter_only": {"method": "own"},
    "dmt": {"method": "intersection"},
    "ceiling": {"method": "truth"},
}  # fmt: skip
JUDGE = "val/ap50"  # of the search: both nets together
ALL, DMT = (
    {"learning_rate": 2.4e-2, "weight_decay": 1e-2},
    {"learning_rate": 1.2e-2, "threshold": 0.35, "contrast": 0.03},
)
ARMS = {
    "contrastive": {"learning_rate": 2.4e-2, "contrast": 0.1},
    "independent": DMT | {"threshold": 0.5},
    **dict.fromkeys(("union_all", "union", "filter_only", "dmt"), DMT),
    **dict.fromkeys(("supervised", "ceiling"), ALL),
}
EDGES = {
    "independent": "0.35 was tried before and far worse",
    "dmt": "a threshold of 0.5 and a contrast of 0.1 were tried before and worse",
    "contrastive": "both are the largest: not widened",
    "supervised": "both are the largest: not widened",
    "ceiling": "both are the largest; 0.97 as it is",
}
RATES = {"learning_rate": (6e-3, 1.2e-2, 2.4e-2)}
ALONE = grid(RATES | {"weight_decay": (1e-4, 1e-3, 1e-2)})
GRID = {
    "supervised": ALONE, "ceiling": ALONE, "contrastive": grid(RATES | {"contrast": (0.01, 0.03, 0.1)}),
    "independent": grid(RATES | {"threshold": (0.5, 0.7, 0.9)}),
    "dmt": grid(RATES | {("threshold", "contrast"): ((0.35, 0.03), (0.2, 0.03), (0.35, 0.01))}),
}  # fmt: skip
APART = {"needs": ("believed", "converged")}  # also where no ceiling and no rival is
GATES = {"needs": ("believed", "rival_helps", "room", "converged")}
CLAIMS = (
    headline("dmt", "independent", "one net of two that must agree beats one of two that need not", source="abstract",
             metric="ap50_one", **GATES),
    headline("dmt", "independent", "their mean beats that of two that need not agree", source="abstract", **GATES),
    secondary("dmt", "contrastive", "dmt beats the match of frame and sound by itself", source="abstract",
              needs=("believed", "room", "converged")),
    secondary("dmt", "independent", "pseudo-labels of two are better on the half that is trusted most",
              metric="pseudo_iou_half", **GATES),
    benchmark("dmt", "supervised"),
    *(ablation("dmt", other, **APART) for other in ("union_all", "union", "filter_only")),
    premise("dmt", 0, "pseudo-labels are believed somewhere", name="believed", metric="train/acceptance", sesoi=0.05),
    premise("independent", "contrastive", "mean teachers are not below nets without them", name="rival_helps",
            relation="not_worse"),
    room("ceiling", "dmt", "dmt leaves room", name="room", sesoi=0.02),
    premise("dmt", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/ap50", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "independent", "dmt"), "log_every": 3, "eval_every": 6, "checkpoint_every": 6,
           "data.train": 40, "data.labelled": 8, "data.val": 20, "data.test": 20, "warm_up.steps": 6, "steps": 6,
           "labelled_batch": 4, "unlabelled_batch": 6},
    tune={"minutes": 8.0}, long=("steps",),
    variants={"ablations": {"arms": ("union_all", "union", "filter_only", "dmt"), "minutes": 3.0}},
)  # fmt: skip
