"""Task-incremental learning: thirteen methods on permuted digits, and what the field knows of them.

Continual Lifelong Learning with Neural Networks: A Review, 2019, arXiv 1802.07569.

    python -m experiments.run --config=configs/continual/continual_baselines_task.py         # about 3 minutes
    python -m experiments.run --config=configs/continual/continual_baselines_task.py:tune    # the search behind ARMS

scikit-learn's digits come five times, their pixels in an order of each task's own, each time with ten outputs of its
own; the task of an example is told, so that these alone compete, in training and in scoring. (Five tasks of two digits
decide nothing here: told the task, plain SGD remembers them all.) Arms and the protocol of the search are those of
continual_baselines_class.py; `pnn` is a progressive network, which forgets nothing by construction and has a column of
the net's size for every task. `:fashion` is the same on Fashion-MNIST at 14 x 14.
"""

from configs._comparison import ablation, comparison, headline, premise, room, secondary
from configs.continual._baselines import ARM, BASE, FIRST_TASKS, of

NAMES = ("sgd", "joint", "ewc", "mas", "si", "lwf", "icarl", "agem", "gem", "er", "der_pp", "gdumb", "pnn")
ARMS = {
    "sgd": {"learning_rate": 0.05}, "joint": {"learning_rate": 0.7}, "ewc": {"learning_rate": 0.1, "strength": 10.0},
    "mas": {"learning_rate": 0.1, "strength": 0.1}, "si": {"learning_rate": 0.1, "strength": 1.0},
    "lwf": {"learning_rate": 0.1, "strength": 10.0}, "icarl": {"learning_rate": 1.0}, "agem": {"learning_rate": 0.5},
    "gem": {"learning_rate": 0.3, "margin": 2.0}, "er": {"learning_rate": 0.7}, "gdumb": {"learning_rate": 1.0},
    "der_pp": {"learning_rate": 0.3, "logit_weight": 1.0, "label_weight": 1.0}, "pnn": {"learning_rate": 0.5},
}  # fmt: skip
EDGES = {
    "learning_rate": "the highest rate for methods that replay or hold back gradients: not widened",
    **dict.fromkeys(("mas.strength", "si.strength"), "the smallest strength: not widened"),
    "gem.margin": "the largest margin: not widened",
    "der_pp": "both weights at 1, the largest: not widened",
}
JUDGE = "val/task_il/accuracy"
GATES = {"needs": ("forgets", "learnable"), "sesoi": 0.01}
CLAIMS = (
    headline("lwf", "sgd", "LwF forgets less than plain SGD", **GATES),
    headline("ewc", "sgd", "EWC forgets less than plain SGD", **GATES),
    secondary("si", "sgd", "synaptic intelligence forgets less than plain SGD", **GATES),
    secondary("er", "lwf", "replay is not worse than a penalty on outputs", relation="not_worse", **GATES),
    ablation("mas", "sgd", "memory aware synapses forget less than plain SGD", **GATES),
    ablation("pnn", "joint", "columns of their own are not worse than all at once", relation="not_worse", **GATES),
    ablation("gem", "agem", "all old tasks at once beat one batch of them", **GATES),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/task_il/forgetting_max", sesoi=0.02),
    room("joint", "sgd", "all tasks at once can be learned", name="learnable", sesoi=0.02),
)  # fmt: skip
OWN = {
    "scenario": "task_il", "minutes": 3.0, "batch_size": 20, "passes": 4,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "data": BASE["data"] | {"tasks": "permuted_pixels"},
}  # fmt: skip
FASHION = {
    "scale": "small, real (100-100-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 8.0, "passes": 1,
    "data": OWN["data"] | {"source": "fashion_mnist", "path": "", "pool": 2, "train": 4000, "val": 1000},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE | OWN, ARMS, of(*NAMES, grid_of=True), CLAIMS,
    metric="test/task_il/accuracy", arm=ARM | {"replay_batch": 20}, methods=of(*NAMES), long=("passes",),
    smoke={"data.num_tasks": 2, "tasks_learned": 2, "passes": 1, "net.features": (8,), "arms.*.buffer": 20,
           "eval_every": 5, "log_every": 5, "checkpoint_every": 5, "batch_size": 200, "importance_examples": 8,
           "arms": ("sgd", "joint", "lwf", "pnn")},
    tune=FIRST_TASKS | {"passes": 12, "minutes": 8.0}, variants={"fashion": FASHION},
)  # fmt: skip
