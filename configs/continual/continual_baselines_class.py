"""Class-incremental learning: fourteen methods on split digits, and what the field knows of them.

Continual Lifelong Learning with Neural Networks: A Review, 2019, arXiv 1802.07569.

    python -m experiments.run --config=configs/continual/continual_baselines_class.py         # about 3 minutes
    python -m experiments.run --config=configs/continual/continual_baselines_class.py:tune    # the search behind ARMS
    make run                                                                                  # :quick, six of them

scikit-learn's digits come as five tasks of two classes, in an order of each seed's own; all ten outputs compete, and
which task an example is from has to be found out. `joint` learns all tasks at once for as many steps, the ceiling;
`sgd` takes them one after another, the floor. Memories hold a hundred examples. `ewc_unaware` does not know where tasks
end and takes Fisher information every twenty steps; `gdumb` learns from its memory alone, whenever a task ends.
Settings come from streams of other images in other orders, of which the search learned the first three tasks alone, so
no method was chosen by what happens later. `:fashion` is the same on Fashion-MNIST at 14 x 14.
"""

from configs._comparison import ablation, comparison, headline, premise, room, secondary
from configs.continual._baselines import ARM, BASE, FIRST_TASKS, of

NAMES = ("sgd", "joint", "ewc", "ewc_unaware", "mas", "si", "lwf", "icarl", "agem", "gem", "er", "er_ace", "der",
         "der_pp", "gdumb")  # fmt: skip
ARMS = {
    "sgd": {"learning_rate": 0.005}, "joint": {"learning_rate": 0.1}, "ewc": {"learning_rate": 0.1, "strength": 1000.0},
    "ewc_unaware": {"learning_rate": 0.03, "strength": 100.0}, "mas": {"learning_rate": 0.1, "strength": 1.0},
    "si": {"learning_rate": 0.1, "strength": 100.0}, "lwf": {"learning_rate": 0.1, "strength": 10.0},
    "icarl": {"learning_rate": 0.5}, "agem": {"learning_rate": 0.005}, "gem": {"learning_rate": 0.3, "margin": 2.0},
    "er": {"learning_rate": 0.3}, "er_ace": {"learning_rate": 0.2}, "der": {"learning_rate": 0.1, "logit_weight": 0.3},
    "der_pp": {"learning_rate": 0.1, "logit_weight": 1.0, "label_weight": 1.0}, "gdumb": {"learning_rate": 0.02},
}  # fmt: skip
EDGES = {
    "sgd": "all rates forget alike",
    "agem": "0.005 is the lowest; the less it learns of a task, the less it forgets",
    "ewc": "1,000 is the largest strength: not widened",
    "ewc_unaware": "0.03 is the lowest rate beside a strength: not widened",
    "gem": "no two settings of the better half differ by more than 0.01",
    "der_pp": "both weights at 1, the largest: not widened",
}
JUDGE = "val/class_il/accuracy"
GATES = {"needs": ("forgets", "learnable")}
BAND = {"relation": "equivalent", "sesoi": 0.05}
CLAIMS = (
    headline("er", "ewc", "replay beats a penalty on weights", sesoi=0.02, **GATES),
    secondary("der_pp", "lwf", "dark replay beats a penalty on outputs", sesoi=0.02, **GATES),
    secondary("ewc", "sgd", "EWC is no better than plain SGD", **GATES, **BAND),
    secondary("si", "sgd", "synaptic intelligence is no better than plain SGD", **GATES, **BAND),
    ablation("lwf", "sgd", "LwF is no better than plain SGD", **GATES, **BAND),
    ablation("ewc_unaware", "sgd", "EWC without boundaries is no better than plain SGD", **GATES, **BAND),
    ablation("gdumb", "er", "GDumb is not worse than replay", relation="not_worse", sesoi=0.02, **GATES),
    ablation("icarl", "er", "iCaRL beats replay", sesoi=0.02, **GATES),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/class_il/forgetting_max", sesoi=0.2),
    room("joint", "sgd", "all tasks at once can be learned", name="learnable", sesoi=0.2),
)  # fmt: skip
FASHION = {
    "scale": "small, real (100-100-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 8.0, "passes": 1,
    "data": BASE["data"] | {"source": "fashion_mnist", "path": "", "pool": 2, "train": 4500, "val": 2000},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE | {"scenario": "class_il", "minutes": 3.0}, ARMS, of(*NAMES, grid_of=True), CLAIMS,
    metric="test/class_il/accuracy", arm=ARM, methods=of(*NAMES), long=("passes",),
    smoke={"data.num_tasks": 2, "tasks_learned": 2, "passes": 1, "net.features": (8,), "arms.*.buffer": 20,
           "eval_every": 5, "log_every": 5, "checkpoint_every": 5, "batch_size": 100, "importance_examples": 8,
           "arms": ("sgd", "joint", "ewc", "si", "lwf", "icarl", "gem", "er", "der_pp")},
    tune=FIRST_TASKS | {"passes": 15, "minutes": 8.0},
    variants={"fashion": FASHION, "quick": {"arms": ("sgd", "ewc", "lwf", "er", "der_pp", "joint"), "minutes": 0.6}},
)  # fmt: skip
