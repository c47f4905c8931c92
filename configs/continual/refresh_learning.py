"""Refresh learning: unlearn the batch a little before every step, then learn it.

A Unified and General Framework for Continual Learning, 2024, arXiv 2403.13249 (ICLR 2024).

    python -m experiments.run --config=configs/continual/refresh_learning.py         # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/continual/refresh_learning.py:tune    # the search behind ARMS

Split digits, class-incremental, with DER++ and a memory of fifty: `base`. `refresh` is the authors' code, one step up
the loss of the stream's batch, `size` of the length of each tensor; `paper` climbs the whole loss with the noise of
Langevin dynamics, `size` its rate; `noise` goes as far as `refresh` in a random direction. Sizes were searched, from
the authors' 1e-5 on. The paper explains its gain by a shorter gradient, in terms of the Fisher information:
`gradient_length`, on test images of all tasks in the end.
Other than in the paper: no weight decay, a small net on digits.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "continual.learn_tasks",
    "paper": "A Unified and General Framework for Continual Learning (ICLR 2024, arXiv 2403.13249)",
    "scale": "toy (100-100-unit MLP, digits)", "minutes": 2.0, "seeds": 16,
    "log_every": 20, "eval_every": 100, "checkpoint_every": 100,
    "scenario": "class_il",
    "data": {"source": "digits", "part": "rest", "tasks": "split_classes", "num_tasks": 5},
    "tasks_learned": 5,
    "batch_size": 10, "passes": 5,
    "net": {"kind": "mlp", "features": (100, 100)},
    "views": {},
    "importance_examples": 100, "max_grad_norm": 10.0,
}  # fmt: skip
ARM = {
    "method": "refresh", "stream": "tasks", "learning_rate": 0.1, "buffer": 50, "replay_batch": 10,
    "logit_weight": 0.1, "label_weight": 0.5,  # DER++'s alpha and beta
    "unlearn": "nothing", "size": 1e-5,
}  # fmt: skip
METHODS = {
    "sgd": {"method": "sgd"}, "joint": {"method": "sgd", "stream": "joint"},
    "base": {}, "refresh": {"unlearn": "gradient"}, "paper": {"unlearn": "langevin"}, "noise": {"unlearn": "noise"},
}  # fmt: skip
ARMS = {
    "sgd": {},
    "joint": {},
    "base": {"logit_weight": 0.1, "label_weight": 0.5},
    "refresh": {"size": 1e-5},
    "noise": {"size": 1e-5},
    "paper": {"size": 1e-9},
}
EDGES = {
    "base": "the smallest weights, at two rates alike; all larger ones are 0.008 below, one standard error",
    "size": "the smallest; all sizes up to 1e-4 have the same validation accuracy at this rate",
}
JUDGE = "val/class_il/accuracy"
RATES = (0.05, 0.1, 0.2)
SIZES = grid({"learning_rate": RATES, "size": (1e-5, 1e-4, 1e-3)})
GRID = {
    "base": grid({"learning_rate": RATES, ("logit_weight", "label_weight"): ((0.1, 0.5), (0.1, 1.0), (0.3, 1.0))}),
    "refresh": SIZES, "noise": SIZES,
    "paper": grid({"learning_rate": RATES, "size": (1e-9, 1e-7, 1e-5)}),
}  # fmt: skip
GATES = {"sesoi": 0.01, "needs": ("forgets", "room")}
CLAIMS = (
    headline("refresh", "base", "DER++ with refresh beats DER++", **GATES),
    secondary("refresh", "noise", "it beats a step as long in a random direction", **GATES),
    secondary("paper", "base", "the paper's form beats DER++", **GATES),
    ablation("refresh", "base", "its gradient is shorter in the end", metric="test/class_il/gradient_length",
             lower_is_better=True, name="shorter_gradient", sesoi=0.05),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/class_il/forgetting_max", sesoi=0.2),
    room("joint", "base", "there is room left to all tasks at once", name="room", sesoi=0.02),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/class_il/accuracy", arm=ARM, methods=METHODS, long=("passes",),
    smoke={"data.num_tasks": 2, "tasks_learned": 2, "passes": 1, "net.features": (8,), "arms.*.buffer": 20,
           "eval_every": 5, "log_every": 5, "checkpoint_every": 5, "batch_size": 100, "importance_examples": 8,
           "arms": ("base", "refresh", "paper", "noise")},
    tune={"data.part": "tuning", "tasks_learned": 3, "passes": 15, "minutes": 4.0},
    variants={"domain": {"scenario": "domain_il", "data.tasks": "permuted_pixels", "batch_size": 20, "passes": 4,
                         "eval_every": 200, "checkpoint_every": 200, "claims": ()}},
)  # fmt: skip
