"""ADCL and EGSR: difficulty measured again before each stage, and failures that the policy rewrites after a hint.

Learning Like Humans: Advancing LLM Reasoning Capabilities via Adaptive Difficulty Curriculum Learning and Expert-Guided
Self-Reformulation, 2025, arXiv 2505.08364.

    python -m experiments.run --config=configs/post_training/adcl_egsr.py        # about 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/adcl_egsr.py:tune   # the rates behind ARMS

Sums of 2 to 5 steps modulo 7; 6 steps are harder. Half of the prompts that the policy imitates have a hint, so that it
can use one. `grpo` draws problems afresh; `pcl` goes through a pool of as many, in five stages from easy to hard for
the start; `adcl` measures each stage again before it comes, with two answers to each problem, and pays for them with
25 of its 150 steps. Where a group has failed, `egsr_*` samples with the expert's answer (a), solution (s) or both (sa)
in sight and learns what is right as an answer to the bare prompt; `inserted` learns the expert's text itself, whose
style, whole equations, is not the policy's.
Other than in the paper, whose code is not public: the number of answers for a difficulty, of stages, and of
replacements are inferred.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "open_edges": ("grpo: learning_rate", "pcl: learning_rate", "inserted: learning_rate", "egsr_a: learning_rate",
                   "egsr_s: learning_rate", "egsr_sa: learning_rate"),
    "paper": "Learning Like Humans: ADCL and EGSR (2025, arXiv 2505.08364)",
    "scale": "toy (a decoder 48 wide, derivations in steps)", "minutes": 5.0,
    "task": policies.SORTING | {
        "name": "stepwise", "train": (2, 5), "harder": (6, 6), "pretrain": (2, 5),
        "options": {"operations": "+", "moduli": 7, "styles": "operands", "room": 6},
    },
    "student": policies.IN_STEPS | {"target": 0.2, "steps": 1000, "hints": 0.5, "hint_style": "equations"},
    "extra_context": 32,  # for hints
    "pool": {"stages": 5, "samples": 2},
    "log_every": 5, "eval_every": 25, "checkpoint_every": 50,
}  # fmt: skip
EGSR = {"method": "reformulated", "style": "equations"}
METHODS = {
    "grpo": {"method": "alone"},
    "pcl": {"method": "predefined"}, "adcl": {"method": "adaptive", "steps": 125},
    "inserted": {"method": "inserted", "style": "equations"},
    "egsr_a": EGSR | {"hint": "answer"}, "egsr_s": EGSR | {"hint": "solution"}, "egsr_sa": EGSR | {"hint": "both"},
}  # fmt: skip
ARMS = {name: {"learning_rate": 2e-4} for name in METHODS} | {
    "adcl": {"learning_rate": 1e-4}, "inserted": {"learning_rate": 5e-5},
}  # fmt: skip
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (5e-5, 1e-4, 2e-4)}))
EDGES = {"learning_rate": "2e-4 is the largest tried, of `inserted` 5e-5 the smallest: not widened"}
GATES = {"sesoi": 0.02, "needs": ("start", "room", "converged")}
FAILING = {"sesoi": 0.02, "needs": ("start", "room", "converged", "failing")}
CLAIMS = (
    headline("adcl", "pcl", "measuring again beats the order of the start, at equal rollouts", **GATES),
    headline("egsr_sa", "grpo", "reformulated solutions help GRPO", **FAILING),
    secondary("egsr_sa", "inserted", "the policy's own words are better than the expert's", **FAILING),
    secondary(text="the order of the start goes stale", name="stale", sesoi=0.05, needs=("start",),
              terms=(("adcl", "test/early_rank", 1.0), ("adcl", "test/late_rank", -1.0))),
    ablation("egsr_sa", "egsr_a", "a solution helps beyond its answer", **FAILING),
    ablation("pcl", "grpo", "an order of the start helps GRPO", **GATES),
    premise("student", 0.35, "the start succeeds in 15 to 55 %", name="start", relation="equivalent", sesoi=0.2),
    premise("grpo", 0.2, "20 % of the first groups fail", name="failing", metric="early_failed", sesoi=0.001),
    premise("adcl", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent", sesoi=0.02),
    room(1.0, "grpo", "GRPO leaves room", name="room", sesoi=0.04),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING
    | {"student": policies.TINY | {"hints": 0.5, "hint_style": "equations"}, "pool.stages": 2, "arms.adcl.steps": 4},
    tune={"minutes": 8.0, "log_every": 25, "eval_every": 75, "checkpoint_every": 75},
    long=("steps", "arms.adcl.steps"),
)  # fmt: skip
