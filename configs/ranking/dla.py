"""The dual learning algorithm (DLA): a ranker and a model of what users look at, learned together from clicks.

Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018, arXiv 1804.05938.

    python -m experiments.run --config=configs/ranking/dla.py           # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/ranking/dla.py:tune      # the search behind ARMS

Procedural queries of ten documents with grades 0 to 4, every seed its own, shown in the order of a weak linear ranker,
and four kinds of users: `eta1` and `eta2` follow the position-based model that the method assumes, with the measured
bias and its square; `cascade` read from the top and may stop after each document; `trust` follow the position-based
model but click on much that merely stands high. Arms: `naive` takes clicks as they are; `ipw_true` divides by the true
examination (in `cascade` by its mean over lists), `ipw_wrong` by that of another eta; `dla` learns it; `labels` learns
from the grades (the ceiling) and `initial` is the ranker whose lists are shown (the floor). `max_weight` caps every
weight. The settings are those that are best over `eta1` and `eta2`: nobody who learns from clicks knows which users
they came from.
Other than in the paper: its documents, Yahoo's and Istella's, are not here; the propensity model is one number per
position with a rate of its own, where the authors have a small net. The paper: nets of 512-256-128 units, 10,000 steps
of 256 lists, Adagrad at 0.05.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary

USERS = {"user": "position", "eta": 1.0, "noise": 0.1, "trust": 0.65, "after_click": 0.3, "after_skip": 0.9}
BASE = {
    "experiment": "ranking.rank_from_clicks",
    "paper": "Unbiased Learning to Rank with Unbiased Propensity Estimation (SIGIR 2018, arXiv 1804.05938)",
    "scale": "toy (small nets, procedural queries)",
    "seeds": 16, "first_seed": 200,
    "log_every": 200, "eval_every": 400, "checkpoint_every": 2000,
    "data": {"train": 2000, "val": 1000, "test": 2000, "documents": 10, "features": 20,
             "initial_quality": 0.4, "noise": 0.3},
    "features": (32, 32),
    "steps": 2000,
    "batch_size": 64,  # lists
    "clip_norm": 5.0,  # of each model's gradient
    "tasks": {
        "eta1": USERS | {"wrong_eta": 2.0},
        "eta2": USERS | {"eta": 2.0, "wrong_eta": 1.0},
        "cascade": USERS | {"user": "cascade", "wrong_eta": 1.0},
        "trust": USERS | {"user": "trust", "wrong_eta": 2.0},
    },
}  # fmt: skip
ARM = {"learning_rate": 0.05, "max_weight": 100.0, "propensity_rate": 0.3}
METHODS = {name: {"method": name} for name in ("initial", "naive", "ipw_true", "ipw_wrong", "dla", "labels")}
ARMS = {
    "initial": {},
    "naive": {"learning_rate": 0.3},
    "ipw_true": {"learning_rate": 0.2, "max_weight": 250.0},
    "ipw_wrong": {"learning_rate": 0.2, "max_weight": 5.0},
    "dla": {"learning_rate": 0.2, "propensity_rate": 10.0},
    "labels": {"learning_rate": 0.15},
}
RATES = grid({"learning_rate": (0.02, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8)})
CAPS = grid({"learning_rate": (0.1, 0.2, 0.4), "max_weight": (5.0, 20.0, 250.0)})
DUAL = grid({"learning_rate": (0.1, 0.2, 0.4), "propensity_rate": (1.0, 3.0, 10.0)})
GRID = {"naive": RATES, "ipw_true": CAPS, "ipw_wrong": CAPS, "dla": DUAL, "labels": RATES}
EDGES = {
    "max_weight": "at 250 hardly a weight is cut; wrong ones are best cut to nearly one, which the arm `naive` has",
    "propensity_rate": "10 is 0.0003 above 3",
}
OWN, OTHERS = {"tasks": ("eta1", "eta2")}, {"tasks": ("cascade", "trust")}
GATES = {"needs": ("informative", "room", "converged")}
CLAIMS = (
    headline("dla", "naive", "dla beats clicks as they are", **OWN, **GATES),
    secondary("dla", "naive", "dla beats clicks as they are", name="other_users", **OTHERS, **GATES),
    secondary("dla", "ipw_true", "dla is as good as the true propensities", relation="not_worse", **GATES),
    ablation("dla", "ipw_wrong", "dla beats wrong propensities", **GATES),
    ablation("dla", "ipw_wrong", "dla knows better what users look at", metric="examination_error",
             lower_is_better=True, sesoi=0.05, name="examination"),
    premise("naive", "initial", "even clicks as they are beat the ranker that was shown", name="informative"),
    room("labels", "naive", "there is room left to true grades", name="room", sesoi=0.02),
    premise("dla", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/ndcg_10", arm=ARM, methods=METHODS,
    smoke={"tasks": ("eta1", "cascade"), "arms": ("initial", "ipw_true", "dla"), "steps": 10, "batch_size": 8,
           "features": (4,), "data.train": 40, "data.val": 10, "data.test": 10, "data.documents": 5,
           "data.features": 4},
    tune={"tasks": ("eta1", "eta2"), "minutes": 4.0}, long=("steps",),
)  # fmt: skip
