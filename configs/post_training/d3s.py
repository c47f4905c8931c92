"""D3S: learn from the rollouts whose advantages vary most, and there from the tokens that tell most.

Learning More with Less: A Dynamic Dual-Level Down-Sampling Framework for Efficient Policy Optimization, 2025, arXiv
2509.22115.

    python -m experiments.run --config=configs/post_training/d3s.py        # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/d3s.py:tune   # the rates behind ARMS

Sort 3 to 7 digits, mixed in every batch, so that many groups are all right or all wrong; 8 are harder. From a start
that succeeds in about 40 % all arms see 150 batches of 16 problems x 8 answers and take one update each. `d3s` keeps a
quarter of the rollouts and a fifth of their tokens at first, all at the end; `d2s` keeps as few throughout; `d1s`
selects no tokens. `random_subset` has D3S's number of rollouts, drawn at random; `nonzero` is GRPO without groups that
teach nothing. The metric is the mean validation accuracy over training, at equal rollouts.
Other than in the paper: everything but the selections; the constants of the schedule, which it does not give.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "minutes": 2.0,
    "paper": "D3S: A Dynamic Dual-Level Down-Sampling Framework (2025, arXiv 2509.22115)",
    "task": policies.SORTING | {"train": (3, 7), "harder": (8, 8), "pretrain": (3, 8), "val": 512},
    "eval_every": 15,
}
ROLLOUTS, TOKENS = {"start": 0.25, "end": 1.0}, {"start": 0.2, "end": 1.0}
ALL = {"start": 1.0, "end": 1.0}
METHODS = {
    "grpo": {},
    "nonzero": {"dynamic_sampling": True},
    "random_subset": {"method": "random_subset", "rollouts": ROLLOUTS},
    "d1s": {"method": "d3s", "rollouts": ROLLOUTS, "tokens": ALL},
    "d2s": {"method": "d3s", "rollouts": ROLLOUTS | {"end": 0.25}, "tokens": TOKENS | {"end": 0.2}},
    "d3s": {"method": "d3s", "rollouts": ROLLOUTS, "tokens": TOKENS},
}
ARMS = {name: {"learning_rate": 3e-4} for name in METHODS}
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (3e-5, 1e-4, 3e-4, 1e-3)}))
GATES = {"needs": ("start", "idle", "room"), "metric": "val/area"}
CLAIMS = (
    headline("d3s", "grpo", "D3S learns faster than GRPO", sesoi=0.01, **GATES),
    secondary("d3s", "random_subset", "the choice of rollouts and tokens matters", sesoi=0.01, **GATES),
    secondary("d3s", "nonzero", "it does more than drop groups that teach nothing", sesoi=0.01, **GATES),
    ablation("d3s", "d2s", "the schedule is needed", sesoi=0.01, **GATES),
    premise("student", 0.4, "the start succeeds in 20 to 60 %", name="start", relation="equivalent", sesoi=0.2,
            metric="test/accuracy"),
    premise("d3s", 0.1, "a tenth of the rollouts teach nothing", name="idle", metric="test/idle", sesoi=0.01),
    room(1.0, "grpo", "GRPO leaves room", name="room", metric="test/accuracy", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="val/area", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING, tune={"minutes": 2.0}, long=("steps",),
)  # fmt: skip
