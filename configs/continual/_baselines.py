"""What the comparisons of continual_baselines share: one scenario is one config."""

from configs._comparison import grid

PAPER = "Continual Lifelong Learning with Neural Networks: A Review (2019, arXiv 1802.07569)"
BASE = {
    "experiment": "continual.learn_tasks",
    "paper": PAPER,
    "scale": "toy (100-100-unit MLP, digits)", "seeds": 16,
    "log_every": 20, "eval_every": 100, "checkpoint_every": 100,
    "data": {"source": "digits", "part": "rest", "tasks": "split_classes", "num_tasks": 5},
    "tasks_learned": 5,
    "batch_size": 10, "passes": 5,
    "net": {"kind": "mlp", "features": (100, 100)},
    "views": {},
    "importance_examples": 100, "max_grad_norm": 10.0,
}  # fmt: skip
ARM = {
    "stream": "tasks",
    "learning_rate": 0.1,
    "strength": 1.0,  # of a penalty
    "buffer": 100, "replay_batch": 10,
    "logit_weight": 0.5, "label_weight": None,  # DER's alpha and beta
    "margin": 0.5,  # GEM's
}  # fmt: skip
METHODS = {
    "sgd": {"method": "sgd"},
    "joint": {"method": "sgd", "stream": "joint"},
    **{name: {"method": name} for name in ("ewc", "ewc_unaware", "mas", "si", "lwf", "icarl")},
    **{name: {"method": name} for name in ("agem", "gem", "er", "er_ace", "der", "gdumb", "pnn")},
    "der_pp": {"method": "der_pp", "label_weight": 0.5},
}

# Protocol of the search: streams of other images, in other orders, of which it learns the first tasks alone.
FIRST_TASKS = {"data.part": "tuning", "tasks_learned": 3}
RATES = (0.03, 0.1, 0.3)
ALONE = grid({"learning_rate": (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)})


def strengths(*values: float) -> list[dict]:
    """Twelve settings of a method with a penalty."""
    return grid({"learning_rate": RATES, "strength": values})


GRID = {
    **{name: ALONE for name in ("sgd", "joint", "icarl", "agem", "er", "er_ace", "gdumb", "pnn")},
    "ewc": strengths(1.0, 10.0, 100.0, 1000.0),
    "ewc_unaware": strengths(1.0, 10.0, 100.0, 1000.0),
    "mas": strengths(0.1, 1.0, 10.0, 100.0),
    "si": strengths(1.0, 10.0, 100.0, 1000.0),
    "lwf": strengths(1.0, 3.0, 10.0, 30.0),
    "gem": grid({"learning_rate": RATES, "margin": (0.0, 0.5, 1.0, 2.0)}),
    "der": grid({"learning_rate": RATES, "logit_weight": (0.1, 0.3, 1.0, 3.0)}),
    "der_pp": grid({"learning_rate": RATES, ("logit_weight", "label_weight"):
                    ((0.1, 0.5), (0.1, 1.0), (0.3, 1.0), (1.0, 1.0))}),
}  # fmt: skip


def of(*names: str, grid_of: bool = False) -> dict:
    """The methods of a scenario, or their settings to try."""
    return {name: (GRID if grid_of else METHODS)[name] for name in names}
