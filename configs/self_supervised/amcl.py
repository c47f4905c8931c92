"""AMCL: several projection heads, and a temperature for every pair of views that is the variance of a likelihood.

Adaptive Multi-head Contrastive Learning, 2023, arXiv 2310.05615 (ECCV 2024).

    python -m experiments.run --config=configs/self_supervised/amcl.py         # 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/amcl.py:tune    # the search behind ARMS

The procedural images of barlow_twins.py, in views that are changed in one way (moved) or in five (and turned, scaled,
changed in contrast, with noise and a hole). The paper expects more of AMCL where views are changed in more ways.
`simclr` has one head of one temperature, `heads` three, `wide` one that is as large as three. By its own equations the
least cost of a positive is at tau = 2 (beta - cos) / (beta d): with beta = 0.1 as in the paper every pair that agrees
goes to the lowest temperature. `beta1` has beta = 1, a lower bound of 1e-3 and d = 4, so that temperatures can differ;
there the claim is asked that they follow the strength of the change.
Other than in the paper: the authors' code does not run, the equations are those of its README; no batch norm.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, secondary
from configs.self_supervised import barlow_twins

VIEWS = barlow_twins.BASE["views"]
BASE = {key: value for key, value in barlow_twins.BASE.items() if key != "views"} | {
    "paper": "Adaptive Multi-head Contrastive Learning (2023, arXiv 2310.05615)",
    "minutes": 5.0, "open_edges": ("amcl: learning_rate", "beta1: learning_rate"),
    "examples": 300 * 128,
    "data": barlow_twins.BASE["data"] | {"val": 4000},
    "tasks": {"one": {"views": {name: type(amount)(0) for name, amount in VIEWS.items()} | {"count": 2, "shift": 0.2}},
              "five": {"views": VIEWS}},
}  # fmt: skip
ARM = {"method": "heads", "heads": 3, "temperature": 0.2, "beta": 0.0, "dim": None, "lowest": 0.05, "highest": 2.0,
       "width": 64, "hidden": (64,), "batch_size": 128, "optimizer": "adamw", "learning_rate": 1e-2,
       "weight_decay": 1e-4, "probe_on": "features", "probe_decay": 1e-2}  # fmt: skip
LEARNED = {"temperature": None, "beta": 0.1}
METHODS = {
    "amcl": LEARNED, "beta1": LEARNED | {"beta": 1.0, "dim": 4.0, "lowest": 1e-3}, "simclr": {"heads": 1}, "heads": {},
    "wide": {"heads": 1, "width": 192, "hidden": (192,)}, "random": {"method": "untrained"},
}  # fmt: skip
FIXED = ("simclr", "heads", "wide")
ARMS = {
    "one": {
        **{name: {"learning_rate": 3e-2, "temperature": 0.2} for name in FIXED},
        "amcl": {"learning_rate": 1e-2, "lowest": 0.1}, "beta1": {"learning_rate": 1e-3, "highest": 1.0},
        "random": {"probe_decay": 10.0},
    },
    "five": {
        **{name: {"learning_rate": 3e-2, "temperature": 0.5} for name in FIXED},
        "amcl": {"learning_rate": 1e-3, "lowest": 0.1}, "beta1": {"learning_rate": 3e-3, "highest": 1.0},
        "random": {"probe_decay": 10.0},
    },
}  # fmt: skip
EDGES = {
    "temperature": "a first search had 0.1, 0.2 and 0.5, at 1e-2 and 3e-2: 0.1 was ahead by 0.01 in `one` at 1e-2",
    "lowest": "0.05 was tried before: worse", "highest": "2.0 was tried before: worse",
    "learning_rate": "3e-2 was tried before: worse; below 1e-3 nothing was",
}  # fmt: skip
RATES, SLOWER = (1e-2, 3e-2, 6e-2), (1e-3, 3e-3, 1e-2)
GRID = {
    **{name: grid({"learning_rate": RATES, "temperature": (0.2, 0.5)}) for name in FIXED},
    "amcl": grid({"learning_rate": SLOWER, "lowest": (0.1, 0.3)}),
    "beta1": grid({"learning_rate": SLOWER, "highest": (0.5, 1.0)}),
}
FIVE, GATES = {"tasks": ("five",)}, {"needs": ("above_random", "converged")}
PROBE = "test/probe_accuracy"
CLAIMS = (
    headline("amcl", "simclr", "AMCL probes better than one head of one temperature", sesoi=0.01, **FIVE, **GATES),
    secondary("amcl", "heads", "its temperatures help beside its heads", sesoi=0.01, **FIVE, **GATES),
    ablation("amcl", "wide", "it is not its size", sesoi=0.01, **FIVE, **GATES),
    secondary("beta1", 0, "temperatures follow the strength of the change", name="tau_follows_strength",
              metric="test/tau_follows_strength", sesoi=0.1, needs=("above_random", "free"), **FIVE),
    secondary(terms=(("five/amcl", PROBE, 1), ("five/simclr", PROBE, -1),
                     ("one/amcl", PROBE, -1), ("one/simclr", PROBE, 1)),
              name="more_in_five", text="it gains more where views are changed in more ways", sesoi=0.01,
              needs=("five/above_random", "five/converged")),
    ablation("beta1", "simclr", "with beta = 1", sesoi=0.01, **FIVE, **GATES),
    premise("simclr", "random", "one head learns something", name="above_random", sesoi=0.02, **FIVE),
    premise("amcl", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.01, **FIVE),
    premise("beta1", 0.5, "few temperatures are at their lowest", name="free", metric="test/tau_at_lowest",
            lower_is_better=True, sesoi=0.1, **FIVE),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric=PROBE, arm=ARM, methods=METHODS,
    smoke={"tasks": ("five",), "arms": ("amcl", "beta1", "simclr", "random"), "examples": 20 * 16,
           "labels_per_class": 3, "tasks.*.arms.*.batch_size": 16, "tasks.*.arms.*.width": 8,
           "data.train": 96, "data.val": 48, "data.test": 48, "net.features": (4, 8), "tasks.*.arms.*.hidden": (16,),
           "probe.steps": 10},
    tune={"minutes": 8.0, "seeds": 3}, long=("examples",),
)  # fmt: skip
