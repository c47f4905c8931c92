"""AdaMerging: merging coefficients learned without labels, by making predictions sure.

AdaMerging: Adaptive Model Merging for Multi-Task Learning, 2023, arXiv 2310.02575 (ICLR 2024).

    python -m experiments.run --config=configs/merging/adamerging.py        # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/merging/adamerging.py:tune   # the search behind ARMS

scikit-learn's digits, turned by 0, 90, 180 and 270 degrees in the four corners of a canvas. In `apart` (16 x 16) the
corners share no pixel and the models disagree in the second layer only; in `overlapping` (14 x 14) they share two rows
and columns and disagree in the first as well. One classifier serves all tasks and fine-tuning leaves it alone. The
digits fall into four disjoint parts, other ones for every seed: for training, for what an arm adapts on, and two for
scores. Floor: the pre-trained model; ceiling: each task's own fine-tuned one.
`task_arithmetic` (0.3 everywhere) and `ties` see no labels; `global_labels` and `ties_labels` search one coefficient
among 31 with the labels of `adapt`, `layer_wise_labels` learns all coefficients from them. `task_wise`, `layer_wise`
and `layer_wise_pp` (on what TIES leaves of each task vector) see inputs alone. `layer_wise_transductive` is the
paper's own protocol: its entropy is that of the inputs on which it is scored; logged as `transductive_entropy`, all
others as `disjoint_entropy`.
Other than in the paper: digits and MLPs for eight sets of photographs and CLIP's ViT-B/32; the learning rate is
searched (the paper: 1e-3).
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, room, secondary

CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
BASE = {
    "experiment": "merging.merge_models",
    "paper": "AdaMerging: Adaptive Model Merging for Multi-Task Learning (2023, arXiv 2310.02575)",
    "scale": "toy (64-64-unit MLPs, digits)",
    "seeds": 16, "first_seed": 200,
    "log_every": 50, "eval_every": 100, "checkpoint_every": 500,
    "data": {"part": "rest", "train": 540, "adapt": 270, "val": 136, "test": 400},
    "features": (64, 64),
    "pretrain": {"steps": 50, "learning_rate": 1e-3},
    "finetune": {"steps": 300, "learning_rate": 1e-3},
    "steps": 500,
    "search_steps": 50,  # batches that a search counts on
    "batch_size": 32,  # per task; the authors take two batches of 16
    "log_classes": True,  # the share of inputs that each class is given, step by step
    "tasks": {"apart": {"domains": CORNERS, "canvas": 16}, "overlapping": {"domains": CORNERS, "canvas": 14}},
}  # fmt: skip
ARM = {
    "vectors": "plain", "method": "given", "per": "all",
    "keep": 0.2,  # share of entries that TIES keeps of each task
    "inputs": "disjoint",  # "transductive" learns from the inputs that it is scored on
    "coefficient": 0.3,  # given, or where learning begins
    "learning_rate": 1e-2,
}  # fmt: skip
LAYER_WISE = {"method": "entropy", "per": "layer"}
METHODS = {
    "pretrained": {"coefficient": 0.0},
    "individual": {"vectors": "individual"},
    "task_arithmetic": {},
    "global_labels": {"method": "search"},
    "ties": {"vectors": "ties_sum"},
    "ties_labels": {"vectors": "ties_sum", "method": "search"},
    "task_wise": {"method": "entropy", "per": "task"},
    "layer_wise": LAYER_WISE,
    "layer_wise_pp": LAYER_WISE | {"vectors": "ties"},
    "layer_wise_transductive": LAYER_WISE | {"inputs": "transductive"},
    "layer_wise_labels": {"method": "labels", "per": "layer"},
}
# The first four have no setting: the two ends of the scale, and the rivals that one number makes.
SAME = {name: {} for name in ("pretrained", "individual", "task_arithmetic", "global_labels")}
ARMS = {
    "apart": SAME | {
        "ties": {"coefficient": 0.6}, "ties_labels": {"keep": 0.2}, "task_wise": {"learning_rate": 1e-3},
        "layer_wise": {"learning_rate": 1e-2}, "layer_wise_pp": {"keep": 0.2, "learning_rate": 1e-2},
        "layer_wise_transductive": {"learning_rate": 1e-2}, "layer_wise_labels": {"learning_rate": 3e-3},
    },
    "overlapping": SAME | {
        "ties": {"coefficient": 0.3}, "ties_labels": {"keep": 0.2}, "task_wise": {"learning_rate": 3e-4},
        "layer_wise": {"learning_rate": 3e-4}, "layer_wise_pp": {"keep": 0.2, "learning_rate": 1e-3},
        "layer_wise_transductive": {"learning_rate": 3e-4}, "layer_wise_labels": {"learning_rate": 3e-2},
    },
}  # fmt: skip
RATES = grid({"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)})
GRID = {
    "ties": grid({"coefficient": (0.1, 0.2, 0.3, 0.6, 1.0, 1.5)}),
    "ties_labels": grid({"keep": (0.05, 0.1, 0.2, 0.5, 0.8, 1.0)}),
    "layer_wise_pp": grid({"keep": (0.2, 0.5), "learning_rate": (1e-3, 3e-3, 1e-2)}),
    **dict.fromkeys(("task_wise", "layer_wise", "layer_wise_transductive", "layer_wise_labels"), RATES),
}
EDGES = {
    "keep": TWO_VALUES,
    "layer_wise_pp.learning_rate": "three rates: apart no two differ by more than 0.002; overlapping, not widened",
    "learning_rate": "where models overlap, the less is learned without labels the better",
}
GATES = {"needs": ("room", "converged")}
CLAIMS = (
    headline("layer_wise", "task_arithmetic", "layer-wise coefficients without labels beat 0.3 everywhere", **GATES),
    secondary("layer_wise", "task_wise", "layer-wise coefficients beat task-wise ones", **GATES),
    secondary("layer_wise_pp", "layer_wise", "TIES before learning helps", **GATES),
    ablation("layer_wise", "global_labels", "they beat one coefficient tuned with labels", **GATES),
    ablation("layer_wise_pp", "ties_labels", "learned coefficients beat one tuned with labels, after TIES", **GATES),
    ablation("layer_wise_transductive", "layer_wise", "learning from the scored inputs themselves helps", **GATES),
    room("layer_wise_labels", "task_arithmetic", "labels find better coefficients", name="room", sesoi=0.02),
    premise("layer_wise", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip
TUNING = {"part": "tuning", "train": 180, "adapt": 90, "val": 179, "test": 0}

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"tasks": ("overlapping",), "tasks.overlapping.domains": ("top_left", "bottom_right"),
           "arms": ("individual", "task_arithmetic", "ties_labels", "layer_wise_transductive"),
           "claims": (ablation("layer_wise_transductive", "task_arithmetic", "learned beats 0.3"),),
           "log_classes": False, "features": (8,), "pretrain.steps": 5, "finetune.steps": 10, "batch_size": 8,
           "steps": 10, "search_steps": 5},
    tune={"minutes": 5.0, "log_classes": False, "data": TUNING}, long=("steps",),
)  # fmt: skip
