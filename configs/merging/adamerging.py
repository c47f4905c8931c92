"""AdaMerging: merging coefficients learned without labels, by making predictions sure.

Paper: AdaMerging: Adaptive Model Merging for Multi-Task Learning, 2023, arXiv 2310.02575 (ICLR 2024).

    python -m experiments.run --config=configs/merging/adamerging.py                  # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/merging/adamerging.py:tune --publish   # the search behind CHOSEN

Tasks. scikit-learn's digits, turned by 0, 90, 180 and 270 degrees in the four corners of a canvas. In `apart` (16 x 16
pixels) the corners share no pixel and the models disagree in the second layer only; in `overlapping` (14 x 14) they
share two rows and columns and disagree in the first as well. One classifier serves all tasks and fine-tuning leaves it
alone. The digits fall into four disjoint parts: `train` for pre-training and fine-tuning, `adapt` for everything that
an arm does afterwards, `val` and `test` for scores. The floor is the pre-trained model, the ceiling each task's own
fine-tuned model.

Labels. `task_arithmetic` (0.3 everywhere) and the TIES arms with a given coefficient see none; `global_labels` and
`ties_labels` search one coefficient among 31 with the labels of `adapt`, `layer_wise_labels` learns all coefficients
from them. `task_wise`, `layer_wise` and `layer_wise_pp` (on what TIES leaves of each task vector) see the inputs of
`adapt` alone. `layer_wise_transductive` is the paper's own protocol: its entropy is that of the very inputs on which it
is scored (test, or validation in `:tune`), without their labels; it is logged as `transductive_entropy`, all others as
`disjoint_entropy`.

Found (8 seeds, accuracy over the four tasks, test digits): it depends on how much the models disagree. `apart`: floor
0.692, 0.3 everywhere 0.817, layer-wise 0.846, each model by itself 0.953. Layer-wise coefficients beat 0.3 by +0.029
[+0.008, +0.049] and task-wise ones by +0.008 [+0.003, +0.013], they equal one coefficient tuned with labels (+0.001
[-0.005, +0.006]), and TIES first gives +0.013 [+0.001, +0.026] more. `overlapping`: the same method loses 0.043
[0.013, 0.073] to 0.3 everywhere and 0.046 [0.017, 0.075] to the tuned coefficient: entropy falls while the largest
class takes 34 % of all answers, up from 28 %. With labels the same coefficients would gain 0.05 and 0.09, so that it
is the entropy that misleads and not the number of coefficients. Learning from the scored inputs themselves: +0.000
and +0.003 [+0.001, +0.004]. `task_wise` and `layer_wise` took the smallest rate offered, the paper's own 1e-3; in
`overlapping` the next one lost 0.05 more on validation. How sure: of the signs within these tasks, very; but tasks
were designed for the comparison. About seven other designs were tried first, in most of which entropy lost or nothing
was hard; `apart` was added after layer-wise learning was seen to win there on other seeds. Read the two tasks as two
cases and not as a sample.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/merging/merge_models.py.
ARM = {
    "vectors": "plain",
    "keep": 0.2,  # share of entries that TIES keeps of each task
    "learn": "nothing",
    "per": "all",
    "inputs": "disjoint",  # "transductive" learns from the inputs that it is scored on
    "coefficient": 0.3,  # given, or where learning begins
    "learning_rate": 1e-2,
}

_TASK_WISE = {"learn": "entropy", "per": "task"}
_LAYER_WISE = {"learn": "entropy", "per": "layer"}

# Arms without a setting of their own: two ends of the scale, and the paper's task arithmetic at 0.3.
FIXED = {
    "pretrained": {"coefficient": 0.0},
    "individual": {"vectors": "individual"},
    "task_arithmetic": {},
    "global_labels": {"learn": "search"},
}

# Three settings for every arm that has one: the same effort for all.
_RATES = [{"learning_rate": rate} for rate in (1e-3, 3e-3, 1e-2)]
METHODS = {
    "ties": {"vectors": "ties_sum"},
    "ties_labels": {"learn": "search", "vectors": "ties_sum"},
    "task_wise": _TASK_WISE,
    "layer_wise": _LAYER_WISE,
    "layer_wise_pp": _LAYER_WISE | {"vectors": "ties"},
    "layer_wise_transductive": _LAYER_WISE | {"inputs": "transductive"},
    "layer_wise_labels": {"learn": "labels", "per": "layer"},
}
GRID = {
    "ties": [{"coefficient": value} for value in (0.3, 0.6, 1.0)],
    "ties_labels": [{"keep": value} for value in (0.1, 0.2, 0.5)],
    "task_wise": _RATES,
    "layer_wise": _RATES,
    "layer_wise_pp": [
        {"keep": keep, "learning_rate": rate} for keep, rate in ((0.2, 3e-3), (0.2, 1e-2), (0.5, 1e-2))
    ],
    "layer_wise_transductive": _RATES,
    "layer_wise_labels": _RATES,
}

CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
CANVAS = {"apart": 16, "overlapping": 14}

# The setting with the best mean validation accuracy in `:tune` (results/merging/adamerging-tune.json).
CHOSEN = {
    "apart": {
        "ties": 1,
        "ties_labels": 2,
        "task_wise": 0,
        "layer_wise": 0,
        "layer_wise_pp": 1,
        "layer_wise_transductive": 0,
        "layer_wise_labels": 1,
    },
    "overlapping": {
        "ties": 0,
        "ties_labels": 1,
        "task_wise": 0,
        "layer_wise": 0,
        "layer_wise_pp": 1,
        "layer_wise_transductive": 0,
        "layer_wise_labels": 2,
    },
}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke", "tune" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "merging.merge_models",
            "paper": "AdaMerging: Adaptive Model Merging for Multi-Task Learning (2023, arXiv 2310.02575)",
            "scale": "toy (64-64-unit MLPs, digits)",
            "minutes": 3.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 1, "data": 1, "model": 1},
            "log_every": 50,
            "eval_every": 250,
            "checkpoint_every": 250,
            "split_seed": 0,
            "fractions": (0.4, 0.2, 0.1, 0.3),  # train, adapt, val, test
            "features": (64, 64),
            "pretrain": {"steps": 50, "learning_rate": 1e-3},
            "finetune": {"steps": 300, "learning_rate": 1e-3},
            "steps": 500,
            "search_steps": 50,  # batches that a search counts on
            "batch_size": 32,  # per task; the authors take two batches of 16
            "log_classes": True,  # the share of inputs that each class is given, step by step
            "test": True,  # False keeps the test split out of the run
            "tasks": {
                name: {"domains": CORNERS, "canvas": canvas, "arms": _chosen(name)}
                for name, canvas in CANVAS.items()
            },
        }
    )
    config.claims = (
        _claim("headline", "layer_wise", "task_arithmetic",
               "layer-wise coefficients without labels beat 0.3 everywhere"),
        _claim("ablation", "layer_wise", "global_labels", "they beat one coefficient tuned with labels"),
        _claim("secondary", "task_wise", "task_arithmetic", "task-wise coefficients beat 0.3 everywhere"),
        _claim("secondary", "layer_wise", "task_wise", "layer-wise coefficients beat task-wise ones"),
        _claim("ablation", "layer_wise_pp", "ties_labels",
               "learned coefficients beat one tuned with labels, after TIES"),
        _claim("secondary", "layer_wise_pp", "layer_wise", "TIES before learning helps"),
        _claim("ablation", "layer_wise_transductive", "layer_wise", "learning from the scored inputs themselves helps"),
        _claim("room", "layer_wise_labels", "layer_wise", "labels would find better coefficients"),
        _claim("room", "individual", "layer_wise", "there is room left to the models by themselves"),
    )  # fmt: skip
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _chosen(task: str) -> dict:
    """The arms with the settings chosen for this task."""
    tuned = {name: ARM | arm | GRID[name][CHOSEN[task][name]] for name, arm in METHODS.items()}
    return {name: ARM | arm for name, arm in FIXED.items()} | tuned


def _claim(kind: str, arm: str, versus: str, text: str) -> dict:
    return {"name": f"{arm}_over_{versus}", "text": text, "kind": kind, "metric": "test/accuracy", "arm": arm,
            "versus": versus}  # fmt: skip


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on five seeds of its own, judged by validation alone."""
    config.minutes = 5.0
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test, config.log_classes = False, False
    for task in config.tasks.values():
        task.arms = ConfigDict(
            {
                f"{name}_{n}": ARM | METHODS[name] | setting
                for name, grid in GRID.items()
                for n, setting in enumerate(grid)
            }
        )


def _smoke(config: ConfigDict) -> None:
    """Seconds: four arms, two seeds, a few steps, a tiny net."""
    names = ("individual", "task_arithmetic", "ties_labels", "layer_wise_transductive")
    del config.tasks["apart"]
    task = config.tasks.overlapping
    task.domains = ("top_left", "bottom_right")
    task.arms = ConfigDict({name: task.arms[name].to_dict() for name in names})
    config.claims = (_claim("ablation", "layer_wise_transductive", "task_arithmetic", "learned beats 0.3"),)
    config.minutes = 0.3
    config.seeds = 2
    config.log_classes = False
    config.log_every, config.eval_every, config.checkpoint_every = 5, 10, 10
    config.features = (8,)
    config.pretrain.steps, config.finetune.steps, config.batch_size = 5, 10, 8
    config.steps, config.search_steps = 10, 5


def _paper(config: ConfigDict) -> None:
    """The paper's budget for the coefficients (500 steps, Adam at 1e-3, two batches of 16 per task) on eight tasks.

    Its models are CLIP's ViT-B/32 and its eight data sets photographs; neither is among the sources, so this is the
    largest form of the same code: all eight places, wider nets, longer training. It was not run.
    """
    config.scale = "the paper's budget, digits"
    config.minutes = 60.0
    places = (*CORNERS, "top", "right", "bottom", "left")
    config.features = (1024, 1024, 1024)
    config.pretrain.steps, config.finetune.steps = 1000, 4000
    for task in config.tasks.values():
        task.domains = places
        for arm in task.arms.values():
            arm.learning_rate, arm.keep = 1e-3, 0.2
