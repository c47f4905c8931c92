"""The GRPO family on one task: advantages, clipping, aggregation and sampling, one change at a time.

DeepSeekMath (2024, arXiv 2402.03300), Understanding R1-Zero-Like Training (2025, arXiv 2503.20783), DAPO (2025, arXiv
2503.14476), GSPO (2025, arXiv 2507.18071), Back to Basics (2024, arXiv 2402.14740).

    python -m experiments.run --config=configs/post_training/grpo.py        # about 12 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/grpo.py:tune   # the learning rates behind ARMS

Sorting 6 to 8 digits (10 for the harder set) by a decoder of two layers, 48 wide, fitted to demonstrations until it is
right in about a quarter of samples. Then 200 batches of 16 problems, 8 completions each, four updates per batch. DAPO
is its four pieces together; none of the arms has a KL term.
Other than in the papers: everything but the losses. `:paper` has the scale of DAPO, Qwen2.5-32B's shape and 512
prompts x 16 responses of up to 20,480 tokens, for a pod; its problems are not here, so the task is the library's chain
of sums, in the first tokens of the vocabulary. Weights: `--config.student.weights=FOLDER`; without them the parameters
are random, which serves `--dry_run`.
"""

from configs._comparison import benchmark, comparison, grid

BASE = {
    "experiment": "post_training.train_policy",
    "paper": "DeepSeekMath's GRPO and its variants: Dr. GRPO, RLOO, DAPO, GSPO (2024-2025)",
    "scale": "toy (a decoder 48 wide, sorting digits)",
    "minutes": 12.0,
    "log_every": 10, "eval_every": 50, "checkpoint_every": 50,
    "task": {
        "name": "sorting",
        "train": (6, 8),  # difficulties, both ends included
        "harder": (10, 10),
        "pretrain": (4, 10),
        "split_seed": 0,
        "val": 64,
        "test": 256,
    },
    "student": {
        "shape": {"width": 48, "num_layers": 2, "num_heads": 4, "mlp_width": 96},
        "steps": 180, "batch_size": 64, "learning_rate": 3e-3, "noise": 0.0,
    },
    "prompts": 16,
    "group_size": 8,
    "max_new_tokens": 16,  # room to run on: the longest answer has 11
    "eval_samples": 16,
    "steps": 200,  # batches of rollouts; each gives minibatches x passes updates
    "segment": 32,  # tokens sampled before the cache grows
    "microbatches": 1,  # parts of an update's batch, one after the other
}  # fmt: skip
ARM = {
    "advantage": "grpo",
    "ratio": "token",
    "aggregation": "seq-mean-token-mean",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "overlong_buffer": 0,
    "overlong_factor": 1.0,
    "dynamic_sampling": False,
    "minibatches": 4,
    "passes": 1,
    "method": "rl",
    "max_grad_norm": 1.0,
}
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
    "gspo": {"ratio": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    "gspo_wide": {"ratio": "sequence"},
}
ARMS = {name: {"learning_rate": 2e-4} for name in METHODS} | {"gspo_wide": {"learning_rate": 1e-4}}
GRID = dict.fromkeys(METHODS, grid({"learning_rate": (1e-4, 2e-4, 4e-4)}))
EDGES = {"gspo_wide": "1e-4 is the lowest: not widened, as no claim speaks of this arm"}
CLAIMS = tuple(benchmark(name, "grpo") for name in METHODS if name not in ("grpo", "gspo_wide"))

SMALL = {
    "task.train": (2, 2), "task.harder": (3, 3), "task.pretrain": (2, 3), "task.val": 4, "task.test": 4,
    "student.shape": {"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 8}, "student.steps": 4,
    "student.batch_size": 8,
}  # fmt: skip
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
    smoke=SMALL | {"arms": ("grpo", "dapo", "gspo"), "log_every": 2, "eval_every": 4, "checkpoint_every": 4,
                   "steps": 4, "prompts": 4, "group_size": 4, "eval_samples": 4},
    tune={"minutes": 15.0, "seeds": 4, "task.val": 256, "eval_every": 100, "checkpoint_every": 100},
    long=("steps",),
    variants={"paper": PAPER},
)  # fmt: skip
