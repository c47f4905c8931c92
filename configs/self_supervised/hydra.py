"""Hydra: images of any two classes as a positive pair, in a subspace that a small net chooses for the two classes.

Rethinking Positive Pairs in Contrastive Learning, 2024, arXiv 2410.18200.

    python -m experiments.run --config=configs/self_supervised/hydra.py         # 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/hydra.py:tune    # the search behind ARMS

Procedural images of 24 classes, six shapes by four textures. Place and size are in no label: what a frozen encoder
still knows of them, a ridge regression on twenty images of each class finds. `hydra` pairs every image with those of a
class drawn from the batch; `supcon` and `identical` pair images of one class, the second behind a gate. The gates of
`fixed` stay as they were drawn, those of `of_others` belong to another pair of the batch. All see the same labels.
Other than in the paper: small images, a gate with 64 hidden units, two views of an image in the place of three.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, secondary
from configs.self_supervised import barlow_twins

BASE = barlow_twins.BASE | {
    "paper": "Rethinking Positive Pairs in Contrastive Learning (2024, arXiv 2410.18200)",
    "open_edges": ("identical: learning_rate", "supcon: learning_rate", "of_others: learning_rate",
                   "hydra: learning_rate"),
    "examples": 300 * 128,
    "first_seed": 100, "labels_per_class": 20,
    "data": barlow_twins.BASE["data"] | {"label": "label"},
    "probe": barlow_twins.BASE["probe"] | {"measures": ("classes", "ranks", "attributes"), "penalty": 10.0,
                                           "attributes": ("place", "radius")},
}  # fmt: skip
ARM = {"method": "gated", "gate": "learned", "partner": "any", "temperature": 0.1, "width": 128, "batch_size": 128,
       "optimizer": "adamw", "learning_rate": 1e-2, "weight_decay": 1e-4, "probe_on": "features",
       "probe_decay": 1e-2}  # fmt: skip
METHODS = {
    "hydra": {}, "fixed": {"gate": "fixed"}, "of_others": {"gate": "of_others"}, "identical": {"partner": "own"},
    "supcon": {"method": "supcon"}, "random": {"method": "untrained"},
}  # fmt: skip
ARMS = {
    "hydra": {"temperature": 0.3, "learning_rate": 3e-3}, "fixed": {"temperature": 0.3, "learning_rate": 1e-2},
    "of_others": {"temperature": 0.3, "learning_rate": 3e-2}, "identical": {"temperature": 0.1, "learning_rate": 3e-2},
    "supcon": {"temperature": 0.1, "learning_rate": 3e-2}, "random": {"probe_decay": 3.0},
}  # fmt: skip
EDGES = {
    "temperature": TWO_VALUES,
    "learning_rate": "not widened; of `hydra` 1e-2 at the same temperature is as good",
}
TRIED = grid({"learning_rate": (3e-3, 1e-2, 3e-2), "temperature": (0.1, 0.3)})
GRID = {name: TRIED for name in METHODS if name != "random"} | {
    "random": grid({"probe_decay": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)})
}
JUDGE = "val/probe_accuracy"
OF_PLACE = {"metric": "attribute_r2", "sesoi": 0.02}
GATES = {"needs": ("above_random", "converged")}
CLAIMS = (
    headline("hydra", "supcon", "pairs of any classes keep more of what no label tells", **OF_PLACE, **GATES),
    secondary("hydra", "supcon", "features fill more directions", metric="feature_rank", sesoi=3.0, **GATES),
    secondary("hydra", "supcon", "the class probe is no worse", relation="not_worse", sesoi=0.02, **GATES),
    secondary("hydra", "of_others", "the gate has to be that of the pair", sesoi=0.02, **GATES),
    ablation("hydra", "fixed", "learned gates keep more than fixed ones", **OF_PLACE, **GATES),
    ablation("hydra", "of_others", "gates of the pair keep more than those of others", **OF_PLACE, **GATES),
    ablation("hydra", "identical", "pairs of any classes keep more than of one class", **OF_PLACE, **GATES),
    premise("supcon", "random", "labels teach the class", name="above_random", sesoi=0.04),
    premise("hydra", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/probe_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("hydra", "of_others", "supcon", "random"), "examples": 20 * 16, "labels_per_class": 3,
           "arms.*.batch_size": 16, "arms.*.width": 8, "data.train": 96, "data.val": 48, "data.test": 48,
           "net.features": (4, 8), "net.projector": (16,), "probe.steps": 10},
    tune={"minutes": 8.0, "seeds": 3}, long=("examples",),
)  # fmt: skip
