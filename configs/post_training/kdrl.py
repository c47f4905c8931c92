"""KDRL: distillation and reinforcement learning in one step, against each of them alone.

KDRL: Post-Training Reasoning LLMs via Unified Knowledge Distillation and Reinforcement Learning, 2025, arXiv
2506.02208.

    python -m experiments.run --config=configs/post_training/kdrl.py:quick  # three arms on half the steps, 3 minutes
    python -m experiments.run --config=configs/post_training/kdrl.py        # seven arms, 8 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/kdrl.py:tune   # the search behind ARMS, on half the steps

Sort 7 or 8 digits, checked exactly; 10 digits are the harder problems. (A chain of sums is learned by tiny
transformers in one sudden step, at a time that differs between seeds by a factor of two.) The student, 48 wide,
imitates right answers for 200 steps; the teacher, 64 wide, answers of which a quarter are wrong: a better model that
can be overtaken. From there each arm takes 240 steps on 16 problems x 8 completions, drawn afresh. Where there is a
beta, the search is over it, at GRPO's learning rate.
Other than in the paper: nearly everything. `:paper` has rollouts, lengths and betas of the paper, a student of
Qwen2.5-1.5B's shape and a teacher of the 7B's, for 8 chips or more; its problems are not here, so the task is the
library's chain of sums. Weights: `--config.student.weights=FOLDER --config.teacher.weights=FOLDER`; without them they
are random, which serves `--dry_run`. The prompts of a part, 128 / microbatches, should divide by mesh.data: 16 parts
on 8 devices, 2 on 64. By dry runs KDRL then takes 3.9 GiB a device for state and 46 GiB besides on 8 devices, 0.5 and
24 GiB on 64, as compiled for a CPU, which computes bfloat16 in float32.
"""

from configs._comparison import ablation, comparison, grid, headline, secondary

PRETRAINED = {"batch_size": 64, "learning_rate": 3e-3}
BASE = {
    "experiment": "post_training.train_policy",
    "paper": "KDRL: Unified Knowledge Distillation and Reinforcement Learning (2025, arXiv 2506.02208)",
    "scale": "toy (decoders 48 and 64 wide, sorting digits)",
    "minutes": 8.0,
    "log_every": 20, "eval_every": 60, "checkpoint_every": 120,
    "task": {
        "name": "sorting",
        "train": (7, 8),  # difficulties, both ends included
        "harder": (10, 10),
        "pretrain": (4, 10),
        "split_seed": 0,
        "val": 64,
        "test": 256,
    },
    "student": PRETRAINED | {
        "shape": {"width": 48, "num_layers": 2, "num_heads": 4, "mlp_width": 96}, "steps": 200, "noise": 0.0},
    "teacher": PRETRAINED | {
        "shape": {"width": 64, "num_layers": 2, "num_heads": 4, "mlp_width": 128}, "steps": 400, "noise": 0.25},
    "prompts": 16,
    "group_size": 8,
    "max_new_tokens": 0,  # 0: what the longest right answer needs
    "eval_samples": 16,
    "steps": 240,
    "segment": 32,  # tokens sampled before the cache grows
    "microbatches": 1,  # parts of an update's batch, one after the other
}  # fmt: skip
ARM = {
    "advantage": "grpo",
    "ratio": "token",
    "aggregation": "token-mean",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "overlong_buffer": 0,
    "overlong_factor": 1.0,
    "dynamic_sampling": False,
    "minibatches": 1,
    "passes": 1,
    "method": "rl",
    "learning_rate": 3e-4,
    "max_grad_norm": 1.0,
}
TEACHER = {
    "beta": 1.0,
    "beta_minimum": 0.0,
    "beta_decrement": 0.0,
    "kind": "k2",
    "keep": "none",
    "denominator": "all",
    "clip": 20.0,  # bound on |R|, for k2; None: none
}
METHODS = {
    "grpo": {},
    "kd_rkl": {"advantage": "none", "teacher": TEACHER},
    "sft_teacher": {"method": "sft"},
    "kdrl": {"teacher": TEACHER},
    "kdrl_annealed": {"teacher": TEACHER},
    "kdrl_masked": {"teacher": TEACHER | {"keep": "response"}},
    "kdrl_k3": {"teacher": TEACHER | {"kind": "k3", "clip": None}},
}


def annealed(beta: float, steps: int, *, of: str = "") -> dict[str, float]:
    """Beta falls to a fifth over the first 30 % of the steps."""
    return {
        f"{of}teacher.beta": beta,
        f"{of}teacher.beta_minimum": 0.2 * beta,
        f"{of}teacher.beta_decrement": 0.8 * beta / (0.3 * steps),
    }


ARMS = {
    "grpo": {"learning_rate": 3e-4},
    "kd_rkl": {"learning_rate": 3e-4},
    "sft_teacher": {"learning_rate": 6e-4},
    "kdrl": {"teacher.beta": 0.1},
    "kdrl_annealed": annealed(0.1, steps=240),
    "kdrl_masked": {"teacher.beta": 0.1},
    "kdrl_k3": {"teacher.beta": 0.005},
}
BETAS = (0.005, 0.02, 0.1, 0.3)
GRID = {
    **dict.fromkeys(("grpo", "kd_rkl", "sft_teacher"), grid({"learning_rate": (1e-4, 3e-4, 6e-4, 1e-3)})),
    **dict.fromkeys(("kdrl", "kdrl_masked", "kdrl_k3"), grid({"teacher.beta": BETAS})),
    "kdrl_annealed": [annealed(beta, steps=120) for beta in BETAS],
}
EDGES = {
    "kdrl_k3": "0.005 is the smallest beta: not widened",
    "kdrl_annealed": "0.3 is the largest beta: not widened",
}
WHY = {
    "kdrl_annealed": "beta 0.3 had 0.36877 on two seeds, 0.1 had 0.36865: 0.1 is what the comparison was run with"
}
CLAIMS = (
    headline("kdrl_annealed", "grpo"),
    secondary("kdrl_annealed", "kd_rkl"),
    secondary("kdrl_annealed", "sft_teacher"),
    ablation("kdrl_annealed", "kdrl"),
    ablation("kdrl", "kdrl_k3", "kdrl with k2 beats k3"),
    secondary("kdrl_annealed", "grpo", "kdrl_annealed learns sooner than grpo", metric="mean_reward", name="sooner"),
    ablation("kdrl_annealed", "grpo", "kdrl_annealed beats grpo on harder problems", metric="test_harder/accuracy",
             name="harder"),
)  # fmt: skip

ANNEALED = "arms.kdrl_annealed."
FEW = ("grpo", "kd_rkl", "kdrl_annealed")
TINY = {"shape": {"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 8}, "steps": 4, "batch_size": 8,
        "learning_rate": 3e-3}  # fmt: skip
QWEN = {"num_layers": 28, "vocab_size": 151_936, "qkv_bias": True, "rope_base": 1e6, "remat": True}
QWEN_1_5B = QWEN | {"width": 1536, "num_heads": 12, "num_kv_heads": 2, "mlp_width": 8960}
# The 7B's own vocabulary is padded to 152,064 rows; those that no token uses are cut to the student's.
QWEN_7B = QWEN | {"width": 3584, "num_heads": 28, "num_kv_heads": 4, "mlp_width": 18_944, "tied": False}
PAPER = {
    "scale": "paper", "minutes": 600.0, "seeds": 1, "steps": 280, "log_every": 1, "eval_every": 40,
    "checkpoint_every": 40, "prompts": 128, "group_size": 8, "max_new_tokens": 4096, "segment": 4096,
    "microbatches": 16, "task.name": "chain", "task.train": (20, 40), "task.harder": (50, 50),
    "task.pretrain": (20, 40), "student": {"shape": QWEN_1_5B, "weights": "", "dtype": "float32"},
    "teacher": {"shape": QWEN_7B, "weights": "", "dtype": "bfloat16"},
    "arms": ("grpo", "kd_rkl", "kdrl", "kdrl_annealed"), "arms.*.learning_rate": 1e-6,
    "arms.kdrl.teacher.beta": 1e-3, **annealed(5e-3, steps=280, of=ANNEALED),
}  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": FEW, "log_every": 2, "eval_every": 4, "checkpoint_every": 4, "steps": 4, "prompts": 2,
           "group_size": 4, "eval_samples": 4, "task.train": (2, 2), "task.harder": (3, 3), "task.pretrain": (2, 3),
           "task.val": 4, "task.test": 4, "student": TINY | {"noise": 0.0}, "teacher": TINY | {"noise": 0.25},
           **annealed(0.1, steps=4, of=ANNEALED)},
    tune={"minutes": 30.0, "seeds": 2, "steps": 120, "task.val": 256, "eval_every": 120, "checkpoint_every": 120},
    variants={
        "long": {"minutes": 32.0, "steps": 960, **annealed(0.1, steps=960, of=ANNEALED)},
        "quick": {"arms": FEW, "minutes": 3.0, "seeds": 5, "steps": 120, "eval_every": 20, "checkpoint_every": 40,
                  **annealed(0.1, steps=120, of=ANNEALED)},
        "paper": PAPER,
    },
)  # fmt: skip
