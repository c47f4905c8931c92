"""Power-law rehearsal: old tasks come back with a probability that falls as a power of their age.

Catastrophic Interference is Mitigated in Naturalistic Power-Law Learning Environments, 2024, arXiv 2401.10393.

    python -m experiments.run --config=configs/continual/power_law_rehearsal.py         # about 4 minutes
    python -m experiments.run --config=configs/continual/power_law_rehearsal.py:tune    # the search behind ARMS

Ten permutations of the pixels of scikit-learn's digits, one a phase. Beside a phase's own task the older ones come
back, together with a tenth, a quarter or half of its examples, by shares that are equal (`uniform`) or fall with age as
a power law or an exponential. Which of them wins is a matter of their constants: as they stand in the paper, the newest
old task has most of either. So both decays are searched, from nearly flat to steep, and `train/rehearsed_oldest` says
what share of the examples the older half of the old tasks has in the end. `paper` is the power law of the authors'
code, (1 + age / 10)^-5.6, at a quarter. `sequential` and `ewc` have no rehearsal; `joint` draws from all tasks.
Other than in the paper: every arm takes as many steps, whatever it is shown, so rehearsal takes the place of new
examples; examples come back with replacement; a small net without batch norm and dropout.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "continual.learn_tasks",
    "paper": "Catastrophic Interference is Mitigated in Naturalistic Power-Law Environments (2024, arXiv 2401.10393)",
    "scale": "toy (128-128-unit MLP, permuted digits)", "minutes": 4.0, "seeds": 16,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "scenario": "domain_il",
    "data": {"source": "digits", "part": "rest", "tasks": "permuted_pixels", "num_tasks": 10},
    "tasks_learned": 10,
    "batch_size": 20, "passes": 4,
    "net": {"kind": "mlp", "features": (128, 128)},
    "views": {},
    "importance_examples": 100, "max_grad_norm": 10.0,
}  # fmt: skip
ARM = {"method": "sgd", "stream": "tasks", "learning_rate": 0.1, "strength": 1.0, "budget": 0.25, "exponent": 1.0,
       "scale": 1.0}  # fmt: skip
BUDGETS = {10: 0.1, 25: 0.25, 50: 0.5}
METHODS = {
    "sequential": {}, "ewc": {"method": "ewc"}, "joint": {"stream": "joint"},
    **{f"{kind}_{n}": {"stream": kind, "budget": share} for kind in ("uniform", "power_law", "exponential")
       for n, share in BUDGETS.items()},
    "paper": {"stream": "power_law", "exponent": 5.6, "scale": 10.0},
}  # fmt: skip
FAST = {"learning_rate": 0.3}
ARMS = {
    "sequential": {"learning_rate": 0.02}, "ewc": FAST | {"strength": 100.0}, "joint": {"learning_rate": 0.5},
    "uniform_10": FAST, "uniform_25": FAST, "uniform_50": FAST, "paper": FAST,
    "power_law_10": FAST | {"exponent": 0.25}, "power_law_25": FAST | {"exponent": 0.5},
    "power_law_50": FAST | {"exponent": 0.25},
    "exponential_10": FAST | {"scale": 10.0}, "exponential_25": FAST | {"scale": 10.0},
    "exponential_50": FAST | {"scale": 30.0},
}  # fmt: skip
JUDGE = "val/domain_il/accuracy"
RATES = grid({"learning_rate": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)})
THREE = (0.1, 0.3, 0.5)
GRIDS = {
    "ewc": grid({"learning_rate": THREE, "strength": (10.0, 100.0, 1000.0)}),
    "power_law": grid({"learning_rate": THREE, "exponent": (0.25, 0.5, 1.0)}),
    "exponential": grid({"learning_rate": THREE, "scale": (3.0, 10.0, 30.0)}),
}
GRID = {
    name: RATES if "exponent" in own else GRIDS.get(own.get("stream") or own.get("method"), RATES)
    for name, own in METHODS.items()
}
EDGES = {
    "sequential": "a rate of 0.01 was no better in a search before",
    "power_law_10": "smaller exponents come near to uniform rehearsal, an arm of its own",
    "power_law_50": "smaller exponents come near to uniform rehearsal, an arm of its own",
    "exponential_50": "longer scales come near to uniform rehearsal, an arm of its own",
}
GATES = {"sesoi": 0.02, "needs": ("forgets", "learnable")}
CLAIMS = (
    headline("power_law_25", "ewc", "power-law rehearsal of a quarter beats EWC", **GATES),
    secondary("power_law_50", "joint", "of a half, it is as good as all tasks at once", relation="not_worse", **GATES),
    secondary("power_law_25", "uniform_25", "it is not worse than uniform rehearsal", relation="not_worse", **GATES),
    secondary("power_law_25", "exponential_25", "it beats an exponential that was tuned as well", **GATES),
    ablation("power_law_10", "exponential_10", "it beats the exponential at a tenth", **GATES),
    ablation("power_law_10", "uniform_10", "it is not worse than uniform at a tenth", relation="not_worse", **GATES),
    ablation("power_law_50", "uniform_50", "it is not worse than uniform at a half", relation="not_worse", **GATES),
    ablation("paper", "uniform_25", "the paper's constants are not worse than uniform", relation="not_worse", **GATES),
    premise("sequential", 0.0, "plain SGD forgets", name="forgets", metric="test/domain_il/forgetting_max", sesoi=0.1),
    room("joint", "sequential", "all tasks at once can be learned", name="learnable", sesoi=0.1),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/domain_il/accuracy", arm=ARM, methods=METHODS, long=("passes",),
    smoke={"data.num_tasks": 3, "tasks_learned": 3, "passes": 1, "net.features": (8,), "batch_size": 200,
           "eval_every": 5, "log_every": 5, "checkpoint_every": 5,
           "arms": ("sequential", "joint", "uniform_25", "power_law_25", "exponential_25")},
    tune={"data.part": "tuning", "tasks_learned": 5, "passes": 12, "minutes": 8.0},
)  # fmt: skip
