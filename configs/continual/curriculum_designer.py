"""The curriculum designer: in which order a few classes are best learned, told from distances between them.

Learning to Learn: How to Continuously Teach Humans and Machines, 2022, arXiv 2211.15470 (ICCV 2023).

    python -m experiments.run --config=configs/continual/curriculum_designer.py        # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/continual/curriculum_designer.py:tune   # the search behind ARMS

Handwritten digits 0 to 4, two at first and then one after another, each image seen once, in all 60 orders; a learner of
each order begins with a net trained on digits 5 to 9. It does nothing against forgetting (`naive`), keeps weights where
they matter (`ewc`), or keeps a tenth of the images (`replay`). The quality of an order is the paper's F, of accuracy at
the end and of what was lost of the first two classes. Claims are about rank correlations over the 60 orders, one number
a seed: `repeat_rank` between two halves of the learners, `reference_rank` with those of other naive learners,
`measured_rank` and `feature_rank` with the designer's score by the authors' own table of distances (optimal transport,
of MNIST's digits) and by the cosine of class means in the net. Each seed has a split of its own. `:fashion` is top,
trouser, pullover, dress and coat of Fashion-MNIST at 14 x 14, with their table and its own test file.
Other than in the paper: a small MLP for SqueezeNet, batches of 4 for 64; the search learns digits 5 to 9.
"""

from configs._comparison import TUNE, TWO_VALUES, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "continual.order_classes",
    "paper": "Learning to Learn: How to Continuously Teach Humans and Machines (2022, arXiv 2211.15470)",
    "scale": "toy (64-32-unit MLP, digits)", "minutes": 2.0, "seeds": 16, "seeds_by": "map",
    "log_every": 16, "eval_every": 64, "checkpoint_every": 64,  # steps of a task
    "batch_size": 4,  # images of a class
    "replicas": 2,  # learners of an order
    "fisher_examples": 32,  # of a class
    "distances": "mnist",
    "data": {"source": "digits", "path": "", "pool": 1, "classes": (0, 1, 2, 3, 4), "part": "rest",
             "train": 400, "val": 75, "test": 195},
    "others": {"classes": (5, 6, 7, 8, 9), "part": "rest", "train": 400, "val": 1, "test": 0},
    "net": {"kind": "mlp", "features": (64, 32)},
    "backbone": {"steps": 300, "batch_size": 32, "learning_rate": 3e-3},
    "reference": {"method": "naive", "learning_rate": 1e-3, "strength": 0.0, "capacity": 1},
}  # fmt: skip
ARM = BASE["reference"]
METHODS = {
    "naive": {},
    "ewc": {"method": "ewc", "strength": 10.0},
    "replay": {"method": "replay", "capacity": 40},
}
ARMS = {
    "naive": {"learning_rate": 1e-3}, "ewc": {"learning_rate": 1e-3, "strength": 10.0},
    "replay": {"learning_rate": 2e-3},
}  # fmt: skip
RATES = grid({"learning_rate": (3e-4, 6e-4, 1e-3, 2e-3, 3e-3, 6e-3)})
GRID = {
    "naive": RATES, "replay": RATES,
    "ewc": grid({"learning_rate": (1e-3, 3e-3), "strength": (1.0, 10.0, 100.0)}),
}  # fmt: skip
JUDGE = "val/quality"
EDGES = {"ewc.learning_rate": TWO_VALUES}
mean_of = lambda metric, *arms: tuple((arm, f"test/{metric}", 1 / len(arms)) for arm in arms)
EVERY, GATES = ("naive", "ewc", "replay"), {"needs": ("learns", "apart"), "sesoi": 0.1}
CLAIMS = (
    headline(terms=mean_of("measured_rank", *EVERY), name="measured", text="measured distances rank orders", **GATES),
    headline(terms=mean_of("repeat_rank", *EVERY), name="repeats", text="good orders are good again", **GATES),
    secondary(terms=mean_of("reference_rank", "ewc", "replay"), name="shared",
              text="orders that are good without protection are good with it", **GATES),
    secondary(terms=mean_of("feature_rank", *EVERY), name="features", text="distances of features rank orders",
              **GATES),
    premise("naive", 0.2, "more is left at the end than the last class", name="learns", metric="accuracy", sesoi=0.04),
    room("naive", 0, "orders differ in what they lead to", name="apart", metric="spread", sesoi=0.01),
)  # fmt: skip

SWAPPED = {
    "data.classes": BASE["others"]["classes"], "others.classes": BASE["data"]["classes"], "others.part": "tuning",
}  # fmt: skip
FASHION = {
    "scale": "small, real (64-32-unit MLP, Fashion-MNIST at 14 x 14)", "minutes": 8.0,
    "log_every": 50, "eval_every": 200, "checkpoint_every": 200, "batch_size": 10, "distances": "fashion_mnist",
    "data.source": "fashion_mnist", "data.pool": 2, "data.train": 2750, "data.val": 1000, "others.train": 2750,
    "arms.replay.capacity": 275,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/quality", arm=ARM, methods=METHODS,
    smoke={"arms": ("naive", "replay"), "claims": (), "log_every": 5, "eval_every": 20, "checkpoint_every": 20,
           "data.train": 60, "data.val": 20, "data.test": 20, "others.train": 30, "net.features": (8, 4),
           "batch_size": 2, "fisher_examples": 4, "backbone.steps": 10, "arms.replay.capacity": 6},
    tune={"minutes": 4.0, **SWAPPED, "others.train": 150, "data.test": 0},
    variants={"fashion": FASHION, "fashion_tune": FASHION | TUNE | {"grid": GRID, **SWAPPED, "minutes": 15.0}},
)  # fmt: skip
