"""PRD: prototypes of old classes follow the drifting features, without any stored example.

Prototype-Sample Relation Distillation: Towards Replay-Free Continual Learning, 2023, arXiv 2303.14771 (ICML 2023).

    python -m experiments.run --config=configs/continual/prd.py         # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/continual/prd.py:tune    # the search behind ARMS

Twenty procedural classes in five superclasses, four tasks of five classes each, the task told. Each seed has classes,
images and an order of its own. `prd` keeps what the old net and its prototypes say of the new images, a distribution
over the classes of every old task, as in the authors' code; `prd_sample` one over the images of the batch for every old
prototype, as in the paper; `no_relation` leaves it out, so that old prototypes stay where they were while features
drift. `lwf` stores nothing either, `er_20` twenty images. All arms see every image as it is and once more, moved.
`prototype_cosine` is that of old prototypes to the means of their classes on test images.
Other than in the paper: a small net without batch norm, constant rate, no longer first task.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "continual.learn_tasks",
    "paper": "Prototype-Sample Relation Distillation: Towards Replay-Free Continual Learning (2023, arXiv 2303.14771)",
    "scale": "toy (128-64-unit MLP, procedural images)", "minutes": 4.0, "seeds": 16, "first_seed": 200,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "scenario": "task_il",
    "data": {"source": "hierarchy", "train": 2800, "val": 1000, "test": 2000, "tasks": "split_classes",
             "num_tasks": 4, "options": {"num_superclasses": 5, "classes_per_superclass": 4, "difficulty": 0.5}},
    "tasks_learned": 4,
    "batch_size": 32, "passes": 32,
    "net": {"kind": "mlp", "features": (128, 64)},
    "views": {"shift": 0.1},
    "importance_examples": 100, "max_grad_norm": 10.0,
}  # fmt: skip
ARM = {
    "method": "prd", "stream": "tasks", "learning_rate": 0.1, "strength": 4.0, "pull_weight": 2.0, "axis": None,
    "projection": 32, "buffer": 20, "replay_batch": 16,
}  # fmt: skip
METHODS = {
    "prd": {"axis": "class"}, "prd_sample": {"axis": "sample"}, "no_relation": {}, "lwf": {"method": "lwf"},
    "er_20": {"method": "er"}, "sgd": {"method": "sgd"}, "joint": {"method": "sgd", "stream": "joint"},
}  # fmt: skip
ARMS = {
    "prd": {"learning_rate": 0.03, "strength": 4.0}, "prd_sample": {"learning_rate": 0.03, "strength": 64.0},
    "no_relation": {"learning_rate": 0.1}, "lwf": {"learning_rate": 0.1, "strength": 1.0},
    "er_20": {"learning_rate": 0.15}, "sgd": {"learning_rate": 0.15}, "joint": {"learning_rate": 0.3},
}  # fmt: skip
JUDGE = "val/task_il/accuracy"
RATES, SLOW = (0.03, 0.1, 0.3), (0.01, 0.03, 0.1)
ALONE = grid({"learning_rate": (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)})
GRID = {
    "prd": grid({"learning_rate": SLOW, "strength": (1.0, 4.0, 16.0)}),
    "prd_sample": grid({"learning_rate": SLOW, "strength": (16.0, 64.0, 256.0)}),
    "lwf": grid({"learning_rate": RATES, "strength": (0.3, 1.0, 3.0)}),
    "no_relation": ALONE, "er_20": ALONE, "sgd": ALONE, "joint": ALONE,
}  # fmt: skip
GATES = {"sesoi": 0.02, "needs": ("forgets", "room")}
CLAIMS = (
    headline("prd", "no_relation", "the relation term helps", **GATES),
    headline("prd", "lwf", "PRD beats LwF", **GATES),
    secondary("prd", "er_20", "PRD beats replay of twenty images", **GATES),
    secondary("prd", "no_relation", "old prototypes stay nearer to their classes", sesoi=0.02,
              metric="test/task_il/prototype_cosine", needs=("forgets",)),
    ablation("prd_sample", "prd", "relations over samples, the paper's, beat those over classes", **GATES),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/task_il/forgetting_max", sesoi=0.04),
    room("joint", "lwf", "there is room left to all tasks at once", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/task_il/accuracy", arm=ARM, methods=METHODS, long=("passes",),
    smoke={"data.train": 200, "data.val": 60, "data.test": 60, "passes": 1, "net.features": (8, 8),
           "data.num_tasks": 2, "tasks_learned": 2, "eval_every": 2, "log_every": 2, "checkpoint_every": 2,
           "arms.*.projection": 4, "arms": ("prd", "prd_sample", "lwf", "er_20")},
    tune={"tasks_learned": 3, "minutes": 8.0},
)  # fmt: skip
