"""A sampler that is not the policy that learns: k steps old, in bfloat16, or rounded to 8 bits. Which correction helps?

python -m experiments.run --config=configs/post_training/mismatch.py        # about 4 minutes on 2 CPU cores
python -m experiments.run --config=configs/post_training/mismatch.py:tune   # the rates behind ARMS
"""

from configs._comparison import comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "post_training.train_policy",
    "paper": "none: corrections for a sampler that is not the learner (2025-2026)",
    "scale": "toy (a decoder 32 wide, sorting digits)",
    "minutes": 4.0,
    "log_every": 10, "eval_every": 30, "checkpoint_every": 150,
    "task": {"name": "sorting", "train": (4, 6), "harder": (7, 7), "pretrain": (3, 7), "split_seed": 0, "val": 256,
             "test": 2000},
    "student": {
        "shape": {"width": 32, "num_layers": 2, "num_heads": 2, "mlp_width": 64},
        "steps": 300, "batch_size": 64, "learning_rate": 3e-3, "noise": 0.0, "target": 0.3,
    },
    "prompts": 16, "group_size": 8, "max_new_tokens": 0, "eval_samples": 2, "steps": 150, "segment": 32,
    "microbatches": 1,
}  # fmt: skip
CORRECTIONS = ("none", "clipped", "truncated", "icepop", "masked", "dppo")
ARM = {
    "method": "mismatched", "advantage": "grpo", "ratio": "token", "aggregation": "token-mean", "clip_low": 0.2,
    "clip_high": 0.2, "overlong_buffer": 0, "overlong_factor": 1.0, "dynamic_sampling": False, "minibatches": 1,
    "passes": 1, "max_grad_norm": 1.0, "learning_rate": 1e-3,
}  # fmt: skip
EXACT = {"age": 0, "type": "float32", "bits": None}
SAMPLERS = {"old": EXACT | {"age": 8}, "half": EXACT | {"type": "bfloat16"}, "rounded": EXACT | {"bits": 8}}


def by(correction: str) -> dict[str, float]:
    """One of the corrections; numbers, so that all are one program."""
    return dict.fromkeys(CORRECTIONS, 0.0) | {correction: 1.0}


METHODS = {
    "on_policy": {"sampler": EXACT, "correction": by("none")},
    **{f"{name}_{correction}": {"sampler": sampler, "correction": by(correction)}
       for name, sampler in SAMPLERS.items() for correction in CORRECTIONS},
}  # fmt: skip
ARMS = {name: {} for name in METHODS}
GRID = None
CLAIMS = (headline("old_truncated", "old_none"),)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS, smoke={},
)  # fmt: skip
