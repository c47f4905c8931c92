"""Several domains: does training on one help another, do stages help, and a policy that begins afresh in each of them?

Can One Domain Help Others? A Data-Centric Study on Multi-Domain Reasoning via Reinforcement Learning, 2025, arXiv
2507.17512.

    python -m experiments.run --config=configs/post_training/multi_domain_rl.py        # about 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/multi_domain_rl.py:tune   # the rates behind ARMS

Knights and knaves of 2 to 5 people, sums of 2 to 5 steps, programs of 2 to 5 instructions, under one tokenizer; the
policy imitates all of them. `mixed`, `staged` and `refresh` train on puzzles alone: all sizes at once, one after the
other, or so with a new reference and a new optimizer at each stage; they are judged by the largest puzzles. `all`,
`sums` and `programs` train on all domains or on another one, for the table of transfers. `partial` is `mixed`, paid by
the share of right roles. The KL to the reference has a coefficient of 0.02: with the paper's 0.001 a new one is none.
Other than in the paper: everything but rewards, stages and the refresh; no templates and no languages.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

LEVELS = {"knights": (2, 5), "sums": (2, 5), "programs": (2, 5)}
BASE = policies.BASE | {
    "open_edges": ("partial: learning_rate", "staged: learning_rate", "refresh: learning_rate",
                   "programs: learning_rate"),
    "paper": "Can One Domain Help Others? Multi-Domain Reasoning via RL (2025, arXiv 2507.17512)",
    "scale": "toy (a decoder 48 wide, puzzles, sums and programs)", "minutes": 5.0,
    "task": policies.SORTING | {
        "name": "mixture", "train": (0, 11), "harder": (3, 3), "pretrain": (0, 11), "test": 1000,
        "parts": {"knights": (0, 3), "sums": (4, 7), "programs": (8, 11)},
        "options": {"knights": {"task": "knights", "levels": LEVELS["knights"]},
                    "sums": {"task": "stepwise", "levels": LEVELS["sums"], "operations": "+", "moduli": 7,
                             "styles": "operands"},
                    "programs": {"task": "stack_program", "levels": LEVELS["programs"]}},
    },
    "student": policies.IN_STEPS | {"target": 0.35, "steps": 800},
    "steps": 160, "log_every": 8, "eval_every": 32, "checkpoint_every": 160,
}  # fmt: skip
PUZZLES = {"method": "domains", "levels": (0, 3), "order": "mixed", "partial": False, "beta": 0.02}
METHODS = {
    "mixed": PUZZLES, "partial": PUZZLES | {"partial": True}, "staged": PUZZLES | {"order": "staged"},
    "refresh": PUZZLES | {"order": "staged", "method": "refreshed"},
    "all": PUZZLES | {"levels": (0, 11)}, "sums": PUZZLES | {"levels": (4, 7)},
    "programs": PUZZLES | {"levels": (8, 11)},
}  # fmt: skip
SLOW, FAST = {"learning_rate": 1e-4}, {"learning_rate": 2e-4}
ARMS = dict.fromkeys(("mixed", "all", "sums"), FAST) | dict.fromkeys(
    ("partial", "staged", "refresh", "programs"), SLOW
)
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (1e-4, 2e-4, 4e-4)}))
EDGES = {"learning_rate": "1e-4 is the lowest, at which little is learned already: not widened"}
HARD = {"metric": "test_harder/accuracy", "sesoi": 0.02, "needs": ("learns", "room", "converged")}
CLAIMS = (
    headline("refresh", "staged", "a refresh at each stage helps on the largest puzzles", **HARD),
    secondary("refresh", "mixed", "stages with a refresh beat a mixture on the largest puzzles", name="curriculum",
              **HARD),
    secondary("partial", "mixed", "paying by the role beats all or nothing on the largest puzzles", name="degrees",
              **HARD),
    ablation("all", "student", "all domains help puzzles", metric="test_knights/accuracy", sesoi=0.02, name="all_help"),
    ablation("sums", "student", "sums help puzzles", metric="test_knights/accuracy", sesoi=0.02, name="sums_help"),
    ablation("programs", "student", "programs help puzzles", metric="test_knights/accuracy", sesoi=0.02,
             name="programs_help"),
    premise("mixed", "student", "training on puzzles helps the largest", name="learns", metric="test_harder/accuracy",
            sesoi=0.02),
    premise("refresh", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
    room(1.0, "mixed", "the largest puzzles leave room", name="room", metric="test_harder/accuracy", sesoi=0.04),
)  # fmt: skip

SMALL = {"task.train": (0, 2), "task.harder": (0, 0), "task.pretrain": (0, 2),
         "task.parts": {"knights": (0, 0), "sums": (1, 1), "programs": (2, 2)},
         **{f"task.options.{name}.levels": (2, 2) for name in LEVELS}}  # fmt: skip
JUDGE = "val/accuracy"
get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | SMALL | {"arms": ("mixed", "refresh"), "arms.*.levels": (0, 1)},
    tune={"minutes": 8.0, "eval_every": 160}, long=("steps",),
)  # fmt: skip
