"""SupReMix: contrast for regression, with mixtures of embeddings as harder negatives and positives.

Mixup Your Own Pairs, 2023, arXiv 2309.16633.

    python -m experiments.run --config=configs/self_supervised/supremix.py         # 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/self_supervised/supremix.py:tune    # the search behind ARMS

Procedural images of a bar before clutter, whose angle is the target, in 40 bins of about four degrees. 1,000 images
have it, or 100; a ridge regression on the frozen encoder is fitted to the same images, and its mean absolute error is
in radians. `supcon` knows which targets are equal, `weighted` weighs the others by their distance as SupReMix does,
without mixtures; `mix_neg` and `mix_pos` have one kind of mixture each. `l1` trains the encoder on the target itself.
All see as many images, but a step with both mixtures takes about two and a half times as long as one without:
`weighted_longer` has as many steps more.
Other than in the paper: procedural images for ages and faces, no batch norm, views without rotation.
"""

import math

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.self_supervised import barlow_twins

DATA = {"shapes": ("bar",), "textures": ("plain",), "place": 0.1, "radius": (0.25, 0.4), "angle": 0.44 * math.pi,
        "size": 16}  # fmt: skip
BASE = {key: value for key, value in barlow_twins.BASE.items() if key not in ("data", "labels_per_class")} | {
    "paper": "Mixup Your Own Pairs (SupReMix) (2023, arXiv 2309.16633)",
    "examples": 400 * 32, "log_every": 40, "eval_every": 80, "checkpoint_every": 400,
    "views": barlow_twins.BASE["views"] | {"rotate": 0.0, "shift": 0.1},
    "tasks": {
        f"n{count}": {
            "data": barlow_twins.BASE["data"] | {"train": count, "options": DATA},
            "labels_per_class": count,
        }
        for count in (100, 1000)
    },
    "probe": barlow_twins.BASE["probe"] | {"measures": ("targets", "ranks"), "penalty": 1.0, "settled": "target_error"},
}  # fmt: skip
NOTHING = {"mix_negatives": False, "mix_positives": False}
ARM = {"method": "hard_mixtures", "target": "angle", "bin": 0.0691, "window": 5.0, "temperature": 0.3, "distance": "l1",
       "mix_negatives": True, "mix_positives": True, "width": 32, "batch_size": 32, "longer": 1.0, "optimizer": "adamw",
       "learning_rate": 1e-2, "weight_decay": 1e-4, "probe_on": "features", "probe_decay": 1e-2}  # fmt: skip
METHODS = {
    "supremix": {}, "mix_neg": {"mix_positives": False}, "mix_pos": {"mix_negatives": False},
    "weighted": NOTHING, "weighted_longer": NOTHING | {"longer": 2.5}, "supcon": NOTHING | {"distance": "none"},
    "l1": {"method": "absolute_error"}, "random": {"method": "untrained"},
}  # fmt: skip
FOUND = {
    **{name: {"learning_rate": 3e-2, "temperature": 0.3} for name in ("supremix", "mix_neg", "mix_pos")},
    **{
        name: {"learning_rate": 3e-2, "temperature": 1.0}
        for name in ("weighted", "weighted_longer", "supcon")
    },
    "random": {},
}
ARMS = {
    f"n{count}": FOUND | {"l1": {"learning_rate": 3e-2, "weight_decay": decay}}
    for count, decay in ((100, 1e-2), (1000, 1e-3))
}
EDGES = {
    "learning_rate": "0.003 and 0.01 were tried before: not widened",
    "supremix.temperature": "0.1 was tried before, at lower rates, where it was worse",
    "l1.weight_decay": "the largest decay is 0.006 ahead of the next but one: not widened",
}
RATES = (1e-2, 3e-2)
GRID = {
    **{name: grid({"learning_rate": RATES, "temperature": (0.3, 1.0, 3.0)})
       for name in ("supremix", "weighted", "supcon")},
    "l1": grid({"learning_rate": RATES, "weight_decay": (1e-4, 1e-3, 1e-2)}),
}  # fmt: skip
JUDGE = "-val/target_error"
LESS = {"lower_is_better": True, "sesoi": 0.01}
LEARNED = {"needs": ("above_random", "converged")}
GATES = {"needs": ("room", *LEARNED["needs"])}
CLAIMS = (
    headline("supremix", "supcon", "SupReMix errs less than SupCon", **LESS, **GATES),
    headline("supremix", "weighted", "it errs less than SupCon with weights of distance", **LESS, **GATES),
    secondary("supremix", "l1", "it errs less than training on the target", **LESS, **LEARNED),
    ablation("supremix", "weighted_longer", "it errs less at as many seconds, too", **LESS, **GATES),
    ablation("supremix", "mix_neg", "mixed positives are needed", **LESS, **GATES),
    ablation("supremix", "mix_pos", "mixed negatives are needed", **LESS, **GATES),
    premise("supremix", "random", "contrast learns the target", name="above_random", **LESS),
    premise("supremix", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.01),
    room("supcon", 0, "SupCon errs by something", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/target_error", arm=ARM, methods=METHODS,
    smoke={"tasks": ("n100",), "arms": ("supremix", "supcon", "l1", "random"), "examples": 20 * 8,
           "tasks.*.arms.*.batch_size": 8, "tasks.*.arms.*.width": 8, "tasks.*.data.val": 48, "tasks.*.data.test": 48,
           "net.features": (4, 8), "net.projector": (16,)},
    tune={"minutes": 8.0}, long=("examples",),
)  # fmt: skip
