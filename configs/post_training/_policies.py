"""What the comparisons of small policies share: an arm of GRPO, a start, and a run of seconds."""

ARM = {
    "method": "rl", "advantage": "grpo", "ratio": "token", "aggregation": "token-mean", "clip_low": 0.2,
    "clip_high": 0.2, "overlong_buffer": 0, "overlong_factor": 1.0, "dynamic_sampling": False, "minibatches": 1,
    "passes": 1, "max_grad_norm": 1.0, "learning_rate": 1e-3,
}  # fmt: skip
STUDENT = {
    "shape": {"width": 32, "num_layers": 2, "num_heads": 2, "mlp_width": 64},
    "steps": 300, "batch_size": 64, "learning_rate": 3e-3, "noise": 0.0,
    "target": 0.3,  # imitation stops where demonstrations have this probability, so that all seeds start alike
}  # fmt: skip
# Arithmetic in steps is learned in a sudden ascent: what stops there has to look at the last few steps alone.
IN_STEPS = STUDENT | {
    "shape": {"width": 48, "num_layers": 2, "num_heads": 4, "mlp_width": 96}, "steps": 1200, "decay": 0.8,
}  # fmt: skip
SORTING = {
    "name": "sorting",
    "train": (4, 6),  # difficulties, both ends included
    "harder": (7, 7),
    "pretrain": (3, 7),
    "val": 256,
    "test": 2000,
}
BASE = {
    "experiment": "post_training.train_policy",
    "scale": "toy (a decoder 32 wide, sorting digits)",
    "minutes": 4.0,
    "log_every": 15, "eval_every": 30, "checkpoint_every": 150,
    "task": SORTING,
    "student": STUDENT,
    "prompts": 16,
    "group_size": 8,
    "max_new_tokens": 0,  # 0: what the longest right answer needs
    "eval_samples": 2,
    "steps": 150,
    "segment": 32,  # tokens sampled before the cache grows
    "microbatches": 1,
}  # fmt: skip
TINY = {"shape": {"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 8}, "steps": 4, "batch_size": 8,
        "learning_rate": 3e-3, "noise": 0.0, "target": 0.3}  # fmt: skip
SMOKE = {
    "log_every": 2, "eval_every": 2, "checkpoint_every": 4, "steps": 4, "prompts": 4, "group_size": 4,
    "eval_samples": 2, "student": TINY, "task.val": 4, "task.test": 4,
}  # fmt: skip
SMALL_SORTING = {"task.train": (2, 3), "task.harder": (4, 4), "task.pretrain": (2, 4)}
