"""MV-DHEL and MV-InfoNCE: all views of an image in one term, instead of one term for each pair of views.

A Principled Framework for Multi-View Contrastive Learning, 2025, arXiv 2507.06979.

    python -m experiments.run --config=configs/self_supervised/multiview_contrastive.py       # 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/multiview_contrastive.py:tune  # the search behind ARMS

The procedural images of barlow_twins.py. Six views of 80 images or two of 240: every batch has 480 views, and all arms
encode as many. `pairwise` is the mean of NT-Xent over all pairs of views, what K views usually get, and with two views
SimCLR. Each arm has its own temperature and rate. The rank is that of the projector's outputs at length 1, which is
what the loss sees; the paper says that it is lost with five views and more unless views spread each by themselves.
Other than in the paper: no batch norm, AdamW in the place of SGD, images of 16 x 16 pixels.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, secondary
from configs.self_supervised import barlow_twins

BASE = barlow_twins.BASE | {
    "paper": "A Principled Framework for Multi-View Contrastive Learning (2025, arXiv 2507.06979)",
    "open_edges": ("infonce6: learning_rate", "pairwise2: learning_rate", "dhel2: learning_rate"),
    "examples": 300 * 240,  # images drawn for an arm of two views; an arm of more draws as many fewer
    "probe": barlow_twins.BASE["probe"] | {"measures": ("classes", "ranks", "directions")},
}
ARM = {"method": "nt_xent", "temperature": 0.2, "width": 128, "batch_size": 240, "views": {"count": 2},
       "optimizer": "adamw", "learning_rate": 1e-2, "weight_decay": 1e-4, "probe_on": "features",
       "probe_decay": 1e-2}  # fmt: skip
METHODS = {
    "pairwise6": {"views": {"count": 6}, "batch_size": 80},
    "infonce6": {"method": "mv_infonce", "views": {"count": 6}, "batch_size": 80},
    "dhel6": {"method": "dhel", "views": {"count": 6}, "batch_size": 80},
    "pairwise2": {},
    "dhel2": {"method": "dhel"},
    "random": {"method": "untrained"},
}
ARMS = {
    "pairwise6": {"temperature": 0.2, "learning_rate": 3e-2},
    "infonce6": {"temperature": 0.5, "learning_rate": 6e-2},
    "dhel6": {"temperature": 0.5, "learning_rate": 3e-2},
    "pairwise2": {"temperature": 0.2, "learning_rate": 6e-2},
    "dhel2": {"temperature": 0.5, "learning_rate": 6e-2},
    "random": {"probe_decay": 10.0},
}
EDGES = {
    **dict.fromkeys(("pairwise6", "dhel6", "pairwise2.temperature"), "1e-2 and 0.1 were tried before: worse"),
    **dict.fromkeys((f"{arm}.learning_rate" for arm in ("infonce6", "pairwise2", "dhel2")), "not widened"),
}
TRIED = grid({"learning_rate": (3e-2, 6e-2), "temperature": (0.2, 0.5, 1.0)})
GRID = {name: TRIED for name in METHODS if name != "random"} | {
    "random": grid({"probe_decay": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)})
}
JUDGE = "val/probe_accuracy"
RANK = {"metric": "direction_rank", "sesoi": 3.0}
CLOSE = {"relation": "not_worse", "sesoi": 0.01}
GATES = {"needs": ("above_random", "converged")}
CLAIMS = (
    headline("dhel6", "pairwise6", "six views of MV-DHEL fill more directions than pairs do", **RANK, **GATES),
    headline("dhel6", "pairwise6", "and probe no worse", **CLOSE, **GATES),
    secondary("infonce6", "pairwise6", "MV-InfoNCE probes no worse than pairs do", **CLOSE, **GATES),
    secondary("dhel6", "dhel2", "six views probe better than two, at as many encoded", sesoi=0.01, **GATES),
    ablation("infonce6", "pairwise6", "one term for all views fills more directions", **RANK, needs=("converged",)),
    ablation("dhel2", "pairwise2", "two views of DHEL do so too", **RANK, needs=("converged",)),
    premise("pairwise6", "random", "pairs learn something", name="above_random", sesoi=0.02),
    premise("dhel6", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.01),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/probe_accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("pairwise6", "infonce6", "dhel6", "random"), "examples": 20 * 12, "labels_per_class": 3,
           "arms.*.batch_size": 4, "arms.*.width": 8, "data.train": 96, "data.val": 48, "data.test": 48,
           "net.features": (4, 8), "net.projector": (16,), "probe.steps": 10},
    tune={"minutes": 6.0, "seeds": 3}, long=("examples",),
)  # fmt: skip
