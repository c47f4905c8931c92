"""KDRL: distillation and reinforcement learning in one step, against each of them alone.

Paper: KDRL: Post-Training Reasoning LLMs via Unified Knowledge Distillation and Reinforcement Learning, 2025,
arXiv 2506.02208.

    make run                                                                  # :quick, three arms on half the steps
    python -m experiments.run --config=configs/post_training/kdrl.py          # seven arms, 8 minutes on 2 cores
    python -m experiments.run --config=configs/post_training/kdrl.py:tune     # the search behind CHOSEN

Task: sort 7 or 8 digits, checked exactly; 10 digits are the harder problems. (The chain of sums that the paper's card
suggests is learned by tiny transformers in one sudden step, at a time that differs from seed to seed by a factor of
two: no two starts would be alike.) The student, 48 wide, imitates right answers for 200 steps, to 0.29 on average
(0.19 to 0.36 by seed); the teacher, 64 wide, imitates answers of which a quarter are wrong, and ends at 0.62 (0.48 to
0.67): a better model that can be overtaken. From there each arm takes 240 steps on 16 problems x 8 completions, drawn
afresh; they meet the 256 test problems by chance only (ten million and more exist). Every arm had four settings and two
seeds of its own for tuning, on half the steps: learning rates where there is no beta, betas at GRPO's rate where there
is one.

Found (8 seeds, mean accuracy of 16 samples on the test problems). KDRL beats its teacher's imitation: +0.124 [+0.084,
+0.164] over on-policy distillation (kd_rkl), +0.172 [+0.111, +0.234] over the teacher's samples. Over GRPO it gains
nothing that eight seeds could show: +0.003 [-0.029, +0.036] at the end, +0.005 [-0.001, +0.010] in the mean reward on
the way, -0.018 [-0.037, +0.002] on harder problems. Annealing, masking and k2 against k3 differ by less than the noise.
On the harder problems GRPO ends where it began (0.143 and 0.141), kd_rkl at 0.056; the teacher itself has 0.46.
Why: GRPO's start answers a third of the problems, so its reward is not sparse, while the teacher's dense signal points
to a model that errs in a third; tuning was indifferent to beta up to 0.3. The paper's gain belongs to students that
seldom succeed and teachers that seldom fail; neither the length nor the models here are near its own (`:paper`).
How sure: one task, one pair of shapes, and teachers that differ by seed; 240 steps end before any arm has converged. A
run before this one, which differs from it in rounding alone, had the same verdicts and other third digits.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "quick", "tune", "paper")

# Four settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
GRID = {
    "grpo": [{"learning_rate": rate} for rate in (1e-4, 3e-4, 6e-4, 1e-3)],
    "kd_rkl": [{"learning_rate": rate} for rate in (1e-4, 3e-4, 6e-4, 1e-3)],
    "sft_teacher": [{"learning_rate": rate} for rate in (1e-4, 3e-4, 6e-4, 1e-3)],
    "kdrl": [{"beta": beta} for beta in (0.005, 0.02, 0.1, 0.3)],
    "kdrl_annealed": [{"beta": beta} for beta in (0.005, 0.02, 0.1, 0.3)],
    "kdrl_masked": [{"beta": beta} for beta in (0.005, 0.02, 0.1, 0.3)],
    "kdrl_k3": [{"beta": beta} for beta in (0.005, 0.02, 0.1, 0.3)],
}

# What each arm changes in GRPO, whatever its setting; a teacher's settings are those of `_teacher`.
ARMS = {
    "grpo": {},
    "kd_rkl": {"advantage": "none", "teacher": {}},
    "sft_teacher": {"imitate_teacher": True},
    "kdrl": {"teacher": {}},
    "kdrl_annealed": {"teacher": {"annealed": True}},
    "kdrl_masked": {"teacher": {"keep": "response"}},
    "kdrl_k3": {"teacher": {"kind": "k3", "clip": None}},
}

# The setting with the best mean validation accuracy in `:tune` (results/post_training/kdrl-tune.json).
CHOSEN = {
    "grpo": 1,
    "kd_rkl": 1,
    "sft_teacher": 2,
    "kdrl": 2,
    "kdrl_annealed": 2,
    "kdrl_masked": 2,
    "kdrl_k3": 0,
}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None, "smoke", "quick", "tune" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "post_training.train_policy",
            "paper": "KDRL: Unified Knowledge Distillation and Reinforcement Learning (2025, arXiv 2506.02208)",
            "scale": "toy (decoders 48 and 64 wide, sorting digits)",
            "minutes": 8.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 0, "data": 1, "model": 1},  # 0: as many devices, or cores, as divide the seeds
            "log_every": 20,
            "eval_every": 60,
            "checkpoint_every": 120,
            "test": True,  # False keeps the test problems out of the run
            "task": {
                "name": "sorting",
                "train": (7, 8),  # difficulties, both ends included
                "harder": (10, 10),
                "pretrain": (4, 10),
                "split_seed": 0,
                "val": 64,
                "test": 256,
            },
            "student": {
                "shape": {"width": 48, "num_layers": 2, "num_heads": 4, "mlp_width": 96},
                "steps": 200,
                "batch_size": 64,
                "learning_rate": 3e-3,
                "noise": 0.0,
            },
            "teacher": {
                "shape": {"width": 64, "num_layers": 2, "num_heads": 4, "mlp_width": 128},
                "steps": 400,
                "batch_size": 64,
                "learning_rate": 3e-3,
                "noise": 0.25,
            },
            "prompts": 16,
            "group_size": 8,
            "max_new_tokens": 0,  # 0: what the longest right answer needs
            "eval_samples": 16,
            "steps": 240,
        }
    )
    config.arms = ConfigDict(
        {name: arm(name, steps=config.steps, **GRID[name][setting]) for name, setting in CHOSEN.items()}
    )
    config.claims = _claims()
    if variant:
        {"smoke": _smoke, "quick": _quick, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _claims() -> tuple[dict, ...]:
    """The paper's claims, most of them about accuracy on test problems of the training's difficulty."""

    def claim(kind: str, arm: str, versus: str, **more: str) -> dict:
        return {"name": f"{arm}_over_{versus}", "text": f"{arm} beats {versus}", "kind": kind,
                "metric": "test/accuracy", "arm": arm, "versus": versus, **more}  # fmt: skip

    sooner = {"name": "sooner", "text": "kdrl_annealed learns sooner than grpo", "metric": "test/mean_reward"}
    harder = {"name": "harder", "text": "kdrl_annealed beats grpo on harder problems",
              "metric": "test_harder/accuracy"}  # fmt: skip
    return (
        claim("headline", "kdrl_annealed", "grpo"),
        claim("secondary", "kdrl_annealed", "kd_rkl"),
        claim("secondary", "kdrl_annealed", "sft_teacher"),
        claim("ablation", "kdrl_annealed", "kdrl"),
        claim("ablation", "kdrl", "kdrl_k3", text="kdrl with k2 beats k3"),
        claim("secondary", "kdrl_annealed", "grpo", **sooner),
        claim("ablation", "kdrl_annealed", "grpo", **harder),
    )


def arm(name: str, *, steps: int, learning_rate: float = 3e-4, beta: float = 1.0) -> dict:
    """One arm's settings: GRPO's, and what `ARMS` changes."""
    settings = {
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
        "imitate_teacher": False,
        "learning_rate": learning_rate,
        "max_grad_norm": 1.0,
        **ARMS[name],
    }
    if "teacher" in settings:
        settings["teacher"] = _teacher(beta, steps, **settings["teacher"])
    return settings


def _teacher(
    beta: float,
    steps: int,
    *,
    annealed: bool = False,
    kind: str = "k2",
    keep: str = "none",
    clip: float | None = 20.0,
) -> dict:
    return {
        "beta": beta,
        "beta_minimum": 0.2 * beta if annealed else 0.0,
        "beta_decrement": 0.8 * beta / (0.3 * steps) if annealed else 0.0,
        "kind": kind,
        "keep": keep,
        "denominator": "all",
        "clip": clip,  # bound on |R|, for k2; None: none
    }


def _tune(config: ConfigDict) -> None:
    """Every setting of every arm on seeds that decide nothing else, judged by validation alone."""
    config.minutes = 30.0
    config.seeds, config.first_seed, config.test, config.claims = 2, 1000, False, ()
    config.steps, config.task.val, config.eval_every, config.checkpoint_every = 120, 256, 120, 120
    config.arms = ConfigDict(
        {
            f"{name}_{n}": arm(name, steps=120, **setting)
            for name, grid in GRID.items()
            for n, setting in enumerate(grid)
        }
    )


def _keep(config: ConfigDict, names: tuple[str, ...]) -> None:
    """Leave out the other arms, and the claims that speak of them."""
    config.arms = ConfigDict(
        {name: arm(name, steps=config.steps, **GRID[name][CHOSEN[name]]) for name in names}
    )
    config.claims = tuple(
        claim for claim in config.claims if claim["arm"] in names and claim["versus"] in names
    )


def _quick(config: ConfigDict) -> None:
    """The same on half the steps, five seeds and three arms: what `make run` shows."""
    config.minutes = 3.0
    config.seeds, config.steps, config.eval_every, config.checkpoint_every = 5, 120, 20, 40
    _keep(config, ("grpo", "kd_rkl", "kdrl_annealed"))


def _smoke(config: ConfigDict) -> None:
    """Seconds: three arms, two seeds, a few steps of tiny models."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 2, 4, 4
    config.steps, config.prompts, config.group_size, config.eval_samples = 4, 2, 4, 4
    config.task.update({"train": (2, 2), "harder": (3, 3), "pretrain": (2, 3), "val": 4, "test": 4})
    for name in ("student", "teacher"):
        config[name].update({"steps": 4, "batch_size": 8})
        config[name].shape.update({"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 8})
    _keep(config, ("grpo", "kd_rkl", "kdrl_annealed"))


def _paper(config: ConfigDict) -> None:
    """A student of Qwen2.5-1.5B's shape and a teacher of the 7B's, for a pod of 8 chips or more.

    Rollouts, lengths and betas are the paper's; its problems are not here, so the task is the library's chain of
    sums, written in the first tokens of the vocabulary. Give the weights with
    `--config.student.weights=FOLDER --config.teacher.weights=FOLDER`; without them the parameters are random,
    which serves `--dry_run` (XLA_FLAGS=--xla_force_host_platform_device_count=8 ... --config.mesh.data=8 --dry_run).
    The update adds up its gradient over `microbatches` parts; their prompts, 128 / microbatches, should divide by
    mesh.data: 16 parts on 8 devices, 2 on 64. By the dry runs KDRL then takes 3.9 GiB a device for state and 46 GiB
    besides on 8 devices, 0.5 GiB and 24 GiB on 64, as compiled for a CPU, which computes bfloat16 in float32.
    """
    config.scale = "paper"
    config.minutes = 600.0
    config.seeds = 1
    config.mesh.seed = 1
    config.steps, config.log_every, config.eval_every, config.checkpoint_every = 280, 1, 40, 40
    config.prompts, config.group_size, config.max_new_tokens = 128, 8, 4096
    config.segment = 4096
    config.microbatches = 16
    config.task.update({"name": "chain", "train": (20, 40), "harder": (50, 50), "pretrain": (20, 40)})
    qwen = {"num_layers": 28, "vocab_size": 151_936, "qkv_bias": True, "rope_base": 1e6, "remat": True}
    student = qwen | {"width": 1536, "num_heads": 12, "num_kv_heads": 2, "mlp_width": 8960}
    # The 7B's own vocabulary is padded to 152,064 rows; those that no token uses are cut to the student's.
    teacher = qwen | {"width": 3584, "num_heads": 28, "num_kv_heads": 4, "mlp_width": 18_944, "tied": False}
    config.student = ConfigDict({"shape": student, "weights": "", "dtype": "float32"})
    config.teacher = ConfigDict({"shape": teacher, "weights": "", "dtype": "bfloat16"})
    settings = {"grpo": {}, "kd_rkl": {}, "kdrl": {"beta": 1e-3}, "kdrl_annealed": {"beta": 5e-3}}
    config.arms = ConfigDict(
        {name: arm(name, steps=280, learning_rate=1e-6, **own) for name, own in settings.items()}
    )
    config.claims = tuple(
        claim for claim in config.claims if claim["arm"] in settings and claim["versus"] in settings
    )
