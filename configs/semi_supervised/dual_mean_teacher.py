"""Dual Mean-Teacher (DMT): two teachers with different nets must agree before either is believed.

Dual Mean-Teacher: An Unbiased Semi-Supervised Framework for Audio-Visual Source Localization, 2023, arXiv 2403.03145
(NeurIPS 2023).

    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py             # about 4 minutes
    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py:ablations   # other rules
    python -m experiments.run --config=configs/semi_supervised/dual_mean_teacher.py:tune        # the search behind ARMS

Procedural frames of 24 x 24 pixels in which one of several objects is heard; 20 of 700 have the box of the one that
sounds. AP50 is the share of frames whose map covers the box with an IoU of one half. All arms start from one warm-up
on the boxes and take as many steps; an arm with two nets predicts by the mean of its teachers. Arms: `supervised`, the
boxes alone, with two nets; `mean_teacher` and `mean_teacher_wide`, one teacher and one of about twice the parameters,
believed where they are confident; `dmt`, the intersection of two teachers on frames on which both are confident and
agree; `ceiling`, all boxes. `:ablations`: `contrastive`, the boxes and the match of frame and sound, and other rules
for two teachers: `union_all` (all of either's map), `union` (on the same frames as `dmt`) and `filter_only` (the same
frames, each student follows its own teacher).
Other than in the paper: procedural frames and sounds for Flickr-SoundNet and VGG-SS (144,000 pairs, 4,250 with boxes),
small nets for ResNet-18 and VGGish. No code was released: the paper's thresholds (0.6, 0.7) are our recollection.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, secondary

BASE = {
    "experiment": "semi_supervised.localize",
    "paper": "Dual Mean-Teacher for audio-visual source localization (2023, arXiv 2403.03145)",
    "scale": "toy (small nets, procedural frames and sounds)",
    "minutes": 4.0,
    "seeds": 6,
    "seeds_by": "map",
    "eval_every": 100,
    "shown": "dmt",  # the arm of examples.png
    "data": {"task_seed": 0, "train": 700, "labelled": 20, "val": 400, "test": 400, "num_classes": 8,
             "size": 24, "audio_dim": 16, "difficulty": 0.7},
    "small_area": 36.0,  # pixels; a scene whose object is smaller counts in ap50_small
    # `b` has another kernel, width and depth than `a`; `wide` is `a` with about twice the parameters.
    "nets": {
        "a": {"channels": (16, 24), "first_kernel": 2, "dim": 16, "temperature": 0.12},
        "b": {"channels": (12, 16, 16), "first_kernel": 4, "dim": 16, "temperature": 0.12},
        "wide": {"channels": (24, 36), "first_kernel": 2, "dim": 20, "temperature": 0.12},
    },
    "labelled_batch": 8,
    "unlabelled_batch": 16,
    "strong": {"colour": 0.3, "noise": 0.08, "hole": 6},
    "warm_up": {"steps": 300, "learning_rate": 3e-3},
    "steps": 500,
    "weight_decay": 1e-4,
    "ema_decay": 0.99,
    "contrast_temperature": 0.1,
    "arms": ("supervised", "mean_teacher", "mean_teacher_wide", "dmt", "ceiling"),
}  # fmt: skip
ARM = {"nets": ("a", "b"), "contrast": 0.03, "weight": 1.0, "threshold": 0.5, "min_agreement": 0.6}
METHODS = {
    "supervised": {"method": "none", "contrast": None},  # None: without the match of frame and sound
    "contrastive": {"method": "none"},
    "mean_teacher": {"nets": ("a",), "method": "confidence"},
    "mean_teacher_wide": {"nets": ("wide",), "method": "confidence"},
    "union_all": {"method": "union_all"},
    "union": {"method": "union"},
    "filter_only": {"method": "own"},
    "dmt": {"method": "intersection"},
    "ceiling": {"method": "truth"},
}
ARMS = {
    "supervised": {"learning_rate": 1.2e-2},
    "contrastive": {"contrast": 0.03, "learning_rate": 1.2e-2},
    "mean_teacher": {"threshold": 0.35, "learning_rate": 1.2e-2},
    "mean_teacher_wide": {"threshold": 0.35, "learning_rate": 6e-3},
    "union_all": {"threshold": 0.5, "learning_rate": 1.2e-2},
    "union": {"threshold": 0.5, "learning_rate": 1.2e-2},
    "filter_only": {"threshold": 0.35, "learning_rate": 1.2e-2},
    "dmt": {"threshold": 0.35, "learning_rate": 1.2e-2},
    "ceiling": {"learning_rate": 1.2e-2},
}
RATES = grid({"learning_rate": (3e-3, 6e-3, 1.2e-2, 2.4e-2)})
SURE = grid({"threshold": (0.35, 0.5), "learning_rate": (6e-3, 1.2e-2)})
GRID = {
    "supervised": RATES,
    "contrastive": grid({"contrast": (0.01, 0.03), "learning_rate": (6e-3, 1.2e-2)}),
    "mean_teacher": SURE,
    "mean_teacher_wide": SURE,
    "union_all": grid({"threshold": (0.4, 0.5), "learning_rate": (6e-3, 1.2e-2)}),
    "union": SURE,
    "filter_only": SURE,
    "dmt": SURE,
    "ceiling": RATES,
}
beats = lambda kind, versus, metric="ap50": kind(
    "dmt", versus, f"dmt beats {versus} on {metric}", metric=metric
)
EDGES = {"*": TWO_VALUES}
CLAIMS = (
    beats(secondary, "supervised"),
    beats(ablation, "contrastive"),
    beats(headline, "mean_teacher"),
    beats(secondary, "mean_teacher_wide"),
    beats(ablation, "union_all"),
    beats(ablation, "union"),
    beats(ablation, "filter_only"),
    beats(
        premise, "mean_teacher", "pseudo_iou_half"
    ),  # pseudo-labels, on the half of the scenes trusted most
    beats(secondary, "mean_teacher", "ap50_small"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/ap50", arm=ARM, methods=METHODS,
    smoke={"arms": ("supervised", "mean_teacher", "dmt"), "log_every": 3, "eval_every": 6, "checkpoint_every": 6,
           "data.train": 40, "data.labelled": 8, "data.val": 20, "data.test": 20, "warm_up.steps": 6, "steps": 6,
           "labelled_batch": 4, "unlabelled_batch": 6},
    tune={"minutes": 15.0, "seeds": 2}, long=("steps",),
    variants={"ablations": {"arms": ("contrastive", "union_all", "union", "filter_only", "dmt")}},
)  # fmt: skip
