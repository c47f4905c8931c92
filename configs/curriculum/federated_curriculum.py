"""When do curricula work in federated learning: easy examples first on every client, easy clients first on the server.

When Do Curricula Work in Federated Learning?, 2022, arXiv 2212.12712 (ICCV 2023).

    python -m experiments.run --config=configs/curriculum/federated_curriculum.py       # about a minute on 2 CPU cores
    python -m experiments.run --config=configs/curriculum/federated_curriculum.py:tune  # the search behind ARMS
    python -m experiments.run --config=configs/curriculum/federated_curriculum.py:map   # over beta

Handwritten digits on twenty clients, of which five take part in a round of federated averaging. In `apart` a client
has mostly one or two classes (Dirichlet, beta = 0.05), in `alike` all of them (beta = 10), in `difficulty` clients are
of one size and differ in how hard their images are to a linear classifier. `none` draws from all images of a client at
once; the others from a fifth at first and from all after four fifths of a round: the easiest under the server's model
(`easy_first`), the hardest (`hard_first`), or any (`random`). `clients_easy` and `clients_random` do so with clients,
a quarter of which takes part at first. Scores are means over the last third of the rounds. Each seed has a split and
shards of its own. `:fashion` is Fashion-MNIST at 14 x 14, with its own test file.
Other than in the paper: twenty clients for a hundred and digits for CIFAR; batches of a client are drawn with
replacement; a pace never leaves fewer than 10 images (the paper: 32, which is a whole client here).
"""

from configs._comparison import TUNE, ablation, comparison, grid, headline, premise, room, secondary

TASK = {
    "partition": "labels", "beta": 0.05, "clients": 20, "smallest": 10, "largest": 150,  # images of a client
    "members": 5, "epochs": 5, "batch_size": 10,
    "least": 10,  # images that a pace leaves
    "data": {"source": "digits", "path": "", "pool": 1, "classes": (), "part": "rest", "train": 1000,
             "val": 100, "test": 240},
    "net": {"kind": "mlp", "features": (64, 64)},
}  # fmt: skip
BASE = {
    "experiment": "curriculum.federate",
    "paper": "When Do Curricula Work in Federated Learning? (2022, arXiv 2212.12712)",
    "scale": "toy (64-64-unit MLP, digits)", "minutes": 1.5, "seeds": 16,
    "log_every": 80, "eval_every": 80, "checkpoint_every": 800,  # steps of a round
    "rounds": 30,
    "full_at": 0.8,  # share of the local steps, or of the rounds, after which a pace lets all take part
    "weight_decay": 5e-4, "momentum": 0.9,  # of a client's SGD
    "tasks": {"apart": TASK, "alike": TASK | {"beta": 10.0}, "difficulty": TASK | {"partition": "difficulty"}},
}  # fmt: skip
ARM = {"order": "random", "start": 1.0, "client_order": "random", "client_start": 1.0, "learning_rate": 1e-2}
METHODS = {
    "none": {}, "random": {"start": 0.2}, "easy_first": {"order": "easy_first", "start": 0.2},
    "hard_first": {"order": "hard_first", "start": 0.2}, "clients_random": {"client_start": 0.25},
    "clients_easy": {"client_order": "easy_first", "client_start": 0.25},
}  # fmt: skip
SLOW, MIDDLE, FAST = ({"learning_rate": rate} for rate in (1e-2, 3e-2, 0.1))
ARMS = {
    "apart": {
        **dict.fromkeys(("none", "easy_first"), MIDDLE),
        **dict.fromkeys(("random", "hard_first", "clients_random", "clients_easy"), SLOW),
    },
    "alike": {
        **dict.fromkeys(("random", "easy_first"), FAST),
        **dict.fromkeys(("none", "hard_first", "clients_random", "clients_easy"), MIDDLE),
    },
    "difficulty": {
        "hard_first": SLOW, "easy_first": FAST,
        **dict.fromkeys(("none", "random", "clients_random", "clients_easy"), MIDDLE),
    },
}  # fmt: skip
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (3e-3, 1e-2, 3e-2, 0.1, 0.3)}))
APART, CLIENTS = {"tasks": ("apart",)}, {"tasks": ("difficulty",)}
GATES = {"needs": ("room", "easier", "converged")}
SCORE = "test/late_accuracy"
CONTRAST = (("apart/easy_first", SCORE, 1.0), ("apart/random", SCORE, -1.0),
            ("alike/easy_first", SCORE, -1.0), ("alike/random", SCORE, 1.0))  # fmt: skip
CLAIMS = (
    headline("easy_first", "random", "easy examples first beat any at the same pace", **APART, **GATES),
    secondary("easy_first", "none", "they beat all examples at once", **APART, **GATES),
    secondary(terms=CONTRAST, name="contrast", text="the gain over any is larger where clients differ more",
              needs=("apart/room", "apart/easier", "apart/converged")),
    secondary("clients_easy", "clients_random", "easy clients first beat any at the same pace", **CLIENTS,
              needs=("room", "converged")),
    ablation("easy_first", "hard_first", "easy examples first beat hard ones first", **APART, **GATES),
    room(1.0, "random", "there are errors left to avoid", name="room", sesoi=0.02),
    premise("random", "easy_first", "what is drawn is easier", name="easier", metric="drawn/loss", sesoi=0.01),
    premise("random", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
)  # fmt: skip

FASHION = {
    "scale": "small, real (64-64-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 10.0,
    "log_every": 100, "eval_every": 100, "checkpoint_every": 1000,
    "tasks.*.data.source": "fashion_mnist", "tasks.*.data.pool": 2, "tasks.*.data.train": 6000,
    "tasks.*.data.val": 1000, "tasks.*.smallest": 60, "tasks.*.largest": 900, "tasks.*.least": 32, "tasks.*.epochs": 1,
}  # fmt: skip
# Where the gain over a random order is, and where that over none.
MAPPED = tuple({key: claim[key] for key in claim if key != "tasks"} for claim in (*CLAIMS[:2], *CLAIMS[5:]))

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric=SCORE, arm=ARM, methods=METHODS,
    smoke={"arms": ("random", "easy_first"), "tasks": ("apart",), "rounds": 3, "log_every": 20, "eval_every": 20,
           "checkpoint_every": 40, "tasks.*.data.train": 100, "tasks.*.data.val": 40, "tasks.*.data.test": 40,
           "tasks.*.clients": 4, "tasks.*.largest": 60, "tasks.*.smallest": 5, "tasks.*.members": 2,
           "tasks.*.epochs": 2, "tasks.*.beta": 0.5, "tasks.*.least": 5, "tasks.*.net.features": (8,)},
    tune={"minutes": 2.0, "tasks.*.data.part": "tuning", "tasks.*.data.train": 350, "tasks.*.data.val": 100,
          "tasks.*.data.test": 0, "tasks.*.clients": 10, "tasks.*.smallest": 5},
    long=("rounds",),
    variants={
        "map": {"claims": MAPPED, "arms": ("none", "random", "easy_first"),
                "map": ("beta", "tasks.apart.beta", (0.05, 0.1, 0.2, 0.5, 0.9, 2.0, 10.0))},
        "fashion": FASHION,
        "fashion_tune": FASHION | TUNE | {"grid": GRID, "tasks.*.data.part": "tuning", "minutes": 20.0},
    },
)  # fmt: skip
