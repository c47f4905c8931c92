"""HPCR and PCR: replay in which the classes of the batch alone compete, each by its proxy.

Holistic Proxy-based Contrastive Replay for Online Continual Learning, 2023, arXiv 2309.15038 (TNNLS 2025).

    python -m experiments.run --config=configs/continual/hpcr.py         # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/continual/hpcr.py:tune    # the search behind ARMS

One pass over Fashion-MNIST at 14 x 14 in five tasks of two classes, in an order of each seed's own, ten images a step
beside ten from a memory of 20 or of 50. Every image is seen twice, as it is and moved a little, by every arm. `er` has
a linear head, `er_cosine` the cosine head of the others with a softmax over all classes, `pcr` one over the classes of
the batch; `hpcr` adds a factor that swings over a task and two terms that keep what was said of stored images.
Other than in the paper: a perceptron for a residual net, and its swing, of 500 batches there, is one task long.
Settings come from a quarter of the training file that no comparison uses, and from the first three tasks of its
streams. The test set is the file's own. `:digits` is the same on scikit-learn's digits.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "continual.learn_tasks",
    "paper": "Holistic Proxy-based Contrastive Replay for Online Continual Learning (2023, arXiv 2309.15038)",
    "scale": "small, real (128-64-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 4.0, "seeds": 16,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200,
    "scenario": "class_il",
    "data": {"source": "fashion_mnist", "path": "", "pool": 2, "part": "rest", "train": 9000, "val": 2000,
             "tasks": "split_classes", "num_tasks": 5},
    "tasks_learned": 5,
    "batch_size": 10, "passes": 1,
    "net": {"kind": "mlp", "features": (128, 64)},
    "views": {"shift": 0.1, "rotate": 10.0},
    "importance_examples": 100, "max_grad_norm": 10.0,
}  # fmt: skip
ARM = {
    "stream": "tasks", "learning_rate": 0.1, "replay_batch": 10,
    "contrast": "present",
    "period": None,  # of the factor's swing, in tasks
    "proxy_weight": None, "relation_weight": None,  # the authors' alpha and beta
}  # fmt: skip
PCR = {"method": "proxy_replay"}
HPCR = PCR | {"period": 1.0, "proxy_weight": 0.03, "relation_weight": 0.5}
KINDS = {"er": {"method": "er"}, "er_cosine": PCR | {"contrast": "all"}, "pcr": PCR, "hpcr": HPCR}
METHODS = {f"{name}_{size}": own | {"buffer": size} for name, own in KINDS.items() for size in (20, 50)} | {
    "sgd": {"method": "sgd", "buffer": 20},
    "joint": {"method": "sgd", "stream": "joint", "buffer": 20},
    "swing_50": PCR | {"period": 1.0, "buffer": 50},
    "distilled_50": HPCR | {"period": None, "buffer": 50},
}  # fmt: skip
ARMS = {
    "er_20": {"learning_rate": 0.1}, "er_50": {"learning_rate": 0.2},
    "er_cosine_20": {"learning_rate": 0.1}, "er_cosine_50": {"learning_rate": 0.02},
    "pcr_20": {"learning_rate": 0.03}, "pcr_50": {"learning_rate": 0.2},
    "hpcr_20": {"learning_rate": 0.3, "proxy_weight": 0.001},
    "hpcr_50": {"learning_rate": 0.1, "proxy_weight": 0.001},
    "sgd": {"learning_rate": 0.1}, "joint": {"learning_rate": 0.1}, "swing_50": {"learning_rate": 0.1},
    "distilled_50": {"learning_rate": 0.1, "proxy_weight": 0.0003},
}  # fmt: skip
JUDGE = "val/class_il/accuracy"
RATES = grid({"learning_rate": (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)})
DISTILLED = grid({"learning_rate": (0.1, 0.3, 0.5), "proxy_weight": (0.0003, 0.001, 0.01)})
GRID = {name: DISTILLED if "proxy_weight" in own else RATES for name, own in METHODS.items()}
EDGES = {
    "hpcr_50.learning_rate": "rates of 0.03 and 0.05 were worse in searches before",
    "distilled_50.learning_rate": "rates of 0.03 and 0.05 were worse in searches before",
    "distilled_50.proxy_weight": "still smaller ones come near to PCR, an arm of its own",
}
GATES = {"sesoi": 0.01, "needs": ("forgets", "room")}
CLAIMS = (
    headline("pcr_50", "er_cosine_50", "classes of the batch alone beat all classes, memory 50", **GATES),
    headline("hpcr_50", "pcr_50", "HPCR beats PCR, memory 50", **GATES),
    secondary("pcr_20", "er_cosine_20", "classes of the batch alone beat all classes, memory 20", **GATES),
    secondary("hpcr_20", "pcr_20", "HPCR beats PCR, memory 20", **GATES),
    ablation("er_cosine_50", "er_50", "a cosine head helps replay", **GATES),
    ablation("swing_50", "pcr_50", "the swinging factor helps PCR", **GATES),
    ablation("distilled_50", "pcr_50", "keeping what was said helps PCR", **GATES),
    premise("sgd", 0.0, "plain SGD forgets", name="forgets", metric="test/class_il/forgetting_max", sesoi=0.2),
    room("joint", "pcr_50", "there is room left to all tasks at once", name="room", sesoi=0.02),
)  # fmt: skip
DIGITS = {
    "scale": "toy (128-64-unit MLP, digits)", "eval_every": 20, "log_every": 20, "checkpoint_every": 20,
    "data": {"source": "digits", "part": "rest", "tasks": "split_classes", "num_tasks": 5},
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/class_il/accuracy", arm=ARM, methods=METHODS, long=("passes",),
    smoke={"data": DIGITS["data"] | {"num_tasks": 2}, "tasks_learned": 2, "net.features": (8, 8), "batch_size": 200,
           "eval_every": 5, "log_every": 5, "checkpoint_every": 5,
           "arms": ("er_20", "er_cosine_20", "pcr_20", "hpcr_20", "sgd")},
    tune={"data.part": "tuning", "tasks_learned": 3, "minutes": 8.0}, variants={"digits": DIGITS},
)  # fmt: skip
