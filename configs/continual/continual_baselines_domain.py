"""Domain-incremental learning: twelve methods on permuted digits, and what the field knows of them.

Continual Lifelong Learning with Neural Networks: A Review, 2019, arXiv 1802.07569.

    python -m experiments.run --config=configs/continual/continual_baselines_domain.py         # about 3 minutes
    python -m experiments.run --config=configs/continual/continual_baselines_domain.py:tune    # the search behind ARMS

scikit-learn's digits come five times, their pixels in an order of each task's own; the ten classes stay the same, and
which task an example is from is never told. Arms and the protocol of the search are those of
continual_baselines_class.py: other images, other permutations, the first three tasks alone. `gdumb` keeps the first
task alone here: its memory is balanced over classes, and they do not change. `:rotations` turns the images by a random
angle for each task, in the place of permuting their pixels; `:fashion` is Fashion-MNIST.
"""

from configs._comparison import ablation, comparison, headline, premise, room, secondary
from configs.continual._baselines import ARM, BASE, FIRST_TASKS, of

NAMES = ("sgd", "joint", "ewc", "mas", "si", "lwf", "agem", "gem", "er", "der", "der_pp", "gdumb")
ARMS = {
    "sgd": {"learning_rate": 0.05}, "joint": {"learning_rate": 0.5}, "ewc": {"learning_rate": 0.3, "strength": 100.0},
    "mas": {"learning_rate": 0.3, "strength": 0.1}, "si": {"learning_rate": 0.3, "strength": 1.0},
    "lwf": {"learning_rate": 0.1, "strength": 1.0}, "agem": {"learning_rate": 0.05},
    "gem": {"learning_rate": 0.3, "margin": 2.0}, "er": {"learning_rate": 0.3},
    "der": {"learning_rate": 0.3, "logit_weight": 0.3}, "gdumb": {"learning_rate": 0.5},
    "der_pp": {"learning_rate": 0.3, "logit_weight": 0.1, "label_weight": 1.0},
}  # fmt: skip
EDGES = {
    "learning_rate": "0.3 is the highest rate beside a second setting: not widened",
    **dict.fromkeys(("mas.strength", "si.strength", "lwf.strength"), "the smallest strength: not widened"),
    "gem.margin": "no two margins above 0 differ by more than 0.03 at this rate",
    "der_pp": "the smallest weight of logits with the largest of labels: not widened",
}
JUDGE = "val/domain_il/accuracy"
GATES = {"needs": ("forgets", "learnable"), "sesoi": 0.02}
CLAIMS = (
    headline("ewc", "sgd", "EWC forgets less than plain SGD", **GATES),
    headline("si", "sgd", "synaptic intelligence forgets less than plain SGD", **GATES),
    secondary("er", "ewc", "replay beats a penalty on weights", **GATES),
    secondary("der_pp", "er", "dark replay beats replay", **GATES),
    ablation("mas", "sgd", "memory aware synapses forget less than plain SGD", **GATES),
    ablation("lwf", "sgd", "LwF forgets less than plain SGD", **GATES),
    ablation("gem", "agem", "all old tasks at once beat one batch of them", **GATES),
    ablation("gdumb", "er", "GDumb is not worse than replay", relation="not_worse", **GATES),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/domain_il/forgetting_max", sesoi=0.1),
    room("joint", "sgd", "all tasks at once can be learned", name="learnable", sesoi=0.1),
)  # fmt: skip
OWN = {
    "open_edges": ("ewc: learning_rate", "si: learning_rate", "si: strength"),
    "scenario": "domain_il", "minutes": 3.0, "batch_size": 20, "passes": 4,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "data": BASE["data"] | {"tasks": "permuted_pixels"},
}  # fmt: skip
FASHION = {
    "scale": "small, real (100-100-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 8.0, "passes": 1,
    "data": OWN["data"] | {"source": "fashion_mnist", "path": "", "pool": 2, "train": 4000, "val": 1000},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE | OWN, ARMS, of(*NAMES, grid_of=True), CLAIMS,
    metric="test/domain_il/accuracy", arm=ARM | {"replay_batch": 20}, methods=of(*NAMES), long=("passes",),
    smoke={"data.num_tasks": 2, "tasks_learned": 2, "passes": 1, "net.features": (8,), "batch_size": 200,
           "arms.*.buffer": 20, "log_every": 5, "eval_every": 5, "checkpoint_every": 5, "importance_examples": 8,
           "arms": ("sgd", "joint", "ewc", "mas", "agem")},
    tune=FIRST_TASKS | {"passes": 12, "minutes": 8.0},
    variants={"fashion": FASHION, "rotations": {"data.tasks": "rotations"}},
)  # fmt: skip
