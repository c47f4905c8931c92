"""The GRPO family on one task: advantages, clipping, aggregation and sampling, one change at a time.

DeepSeekMath (2024, arXiv 2402.03300), Understanding R1-Zero-Like Training (2025, arXiv 2503.20783), DAPO (2025, arXiv
2503.14476), GSPO (2025, arXiv 2507.18071), Back to Basics (2024, arXiv 2402.14740).

    python -m experiments.run --config=configs/post_training/grpo.py        # about 6 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/grpo.py:tune   # the learning rates behind ARMS

Each variant where its mechanism acts, and a gate that says so: sort 4 to 9 digits, so that answers have very different
lengths and many groups have no signal, all wrong or all right; every batch of 16 problems x 8 answers gives 16 updates,
so that ratios leave their range. Every seed's policy imitates until its demonstrations have a probability of 0.2, then
takes 100 batches. DAPO is its four pieces together; none of the arms has a KL term. Dynamic sampling is the released
form without its second draw: groups without signal have no weight, and the others make up for them.
Other than in the papers: everything but the losses. `:paper` has the scale of DAPO, Qwen2.5-32B's shape and 512
prompts x 16 responses of up to 20,480 tokens, for a pod; its problems are not here, so the task is the library's chain
of sums, in the first tokens of the vocabulary. Weights: `--config.student.weights=FOLDER`; without them the parameters
are random, which serves `--dry_run`.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "paper": "DeepSeekMath's GRPO and its variants: Dr. GRPO, RLOO, DAPO, GSPO (2024-2025)",
    "minutes": 6.0, "first_seed": 300,
    "log_every": 10, "eval_every": 20, "checkpoint_every": 100,
    "task": policies.SORTING | {"train": (4, 9), "harder": (10, 10), "pretrain": (3, 10)},
    "student": policies.STUDENT | {"target": 0.2},
    "max_new_tokens": 16,  # room to run on: the longest answer has 10
    "steps": 100,  # batches of rollouts; each gives minibatches x passes updates
}  # fmt: skip
ARM = policies.ARM | {"aggregation": "seq-mean-token-mean", "minibatches": 8, "passes": 2}
DAPO = {"clip_high": 0.28, "aggregation": "token-mean", "dynamic_sampling": True, "overlong_buffer": 2}
METHODS = {
    "grpo": {},
    "dr_grpo": {"advantage": "dr_grpo", "aggregation": "constant"},
    "rloo": {"advantage": "rloo"},
    "clip_higher": {"clip_high": 0.28},
    "token_mean": {"aggregation": "token-mean"},
    "dynamic_sampling": {"dynamic_sampling": True},
    "overlong": {"overlong_buffer": 2},
    "dapo": DAPO,
    "gspo": {"ratio": "sequence"},
}
ARMS = {name: {"learning_rate": 1e-4} for name in METHODS}
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (3e-5, 6e-5, 1e-4, 2e-4)}))
CLIPS, GROUPS = {"needs": ("clips", "room", "converged")}, {"needs": ("no_signal", "room", "converged")}
CLAIMS = (
    headline("dapo", "grpo", source="DAPO, table 1", needs=("clips", "no_signal", "room", "converged")),
    secondary("clip_higher", "grpo", source="DAPO, table 1", **CLIPS),
    secondary("dynamic_sampling", "grpo", source="DAPO, table 1", **GROUPS),
    secondary("gspo", "grpo", source="GSPO, abstract", **CLIPS),
    *(ablation(name, "grpo", needs=("room", "converged")) for name in ("token_mean", "overlong", "dr_grpo", "rloo")),
    premise("grpo", 0.0, "a hundredth of GRPO's tokens is clipped", name="clips", metric="train/clipped", sesoi=0.01),
    premise(terms=(("grpo", "train/groups_failed", 1.0), ("grpo", "train/groups_solved", 1.0)), name="no_signal",
            text="a quarter of the groups has no signal", sesoi=0.25),
    premise("grpo", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
    room(1.0, "grpo", "grpo leaves room", name="room", sesoi=0.04),
)  # fmt: skip

QWEN_32B = {
    "num_layers": 64, "width": 5120, "num_heads": 40, "num_kv_heads": 8, "head_dim": 128, "mlp_width": 27_648,
    "vocab_size": 152_064, "qkv_bias": True, "rope_base": 1e6, "remat": True, "tied": False,
}  # fmt: skip
PAPER = {
    "scale": "paper", "minutes": 10_000.0, "seeds": 1, "steps": 1000, "log_every": 1, "eval_every": 50,
    "checkpoint_every": 20, "prompts": 512, "group_size": 16, "max_new_tokens": 20_480, "eval_samples": 32,
    "segment": 20_480, "microbatches": 4, "task.name": "chain", "task.train": (20, 40), "task.harder": (50, 50),
    "task.pretrain": (20, 40), "student": {"shape": QWEN_32B, "weights": "", "dtype": "bfloat16"},
    "arms.*.learning_rate": 1e-6, "arms.*.minibatches": 16, "arms.overlong.overlong_buffer": 4096,
    "arms.dapo.overlong_buffer": 4096,
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING
    | {"arms": ("grpo", "dapo", "gspo"), "prompts": 8, "eval_samples": 4, "max_new_tokens": 8},
    tune={"minutes": 8.0, "eval_every": 100}, long=("steps",), variants={"paper": PAPER},
)  # fmt: skip
