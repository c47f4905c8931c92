"""KDRL: distillation and reinforcement learning in one step, against each of them alone.

KDRL: Post-Training Reasoning LLMs via Unified Knowledge Distillation and Reinforcement Learning, 2025, arXiv
2506.02208.

    python -m experiments.run --config=configs/post_training/kdrl.py        # about 5 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/kdrl.py:tune   # the search behind ARMS
    python -m experiments.run --config=configs/post_training/kdrl.py:quick  # three arms on half the steps

A student that seldom succeeds under a teacher that seldom fails, which is where joining should pay: sort 4 to 6 digits,
checked exactly; 7 digits are the harder problems. Every seed's student, 32 wide, imitates until its demonstrations have
a probability of 0.1, its teacher, 48 wide, until 0.85. From there each arm takes 150 steps on 16 problems x 8
completions, drawn afresh. `grpo` hears the verifier alone, `kd_rkl` the teacher alone, `sft_teacher` imitates the
teacher's answers; `kdrl_response` and `kdrl_group` hear the teacher only where an answer, or all of a group, is wrong.
Other than in the paper: nearly everything. `:paper` has rollouts, lengths and betas of the paper, a student of
Qwen2.5-1.5B's shape and a teacher of the 7B's, for 8 chips or more, on a chain of sums, since its problems are not
here. Weights: `--config.student.weights=FOLDER --config.teacher.weights=FOLDER`; random ones serve `--dry_run`. The
prompts of a part, 128 / microbatches, should divide by mesh.data.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, room, secondary
from configs.post_training import _policies as policies

BASE = policies.BASE | {
    "paper": "KDRL: Unified Knowledge Distillation and Reinforcement Learning (2025, arXiv 2506.02208)",
    "scale": "toy (decoders 32 and 48 wide, sorting digits)",
    "minutes": 5.0,
    "first_seed": 300,
    "open_edges": ("kdrl: teacher.beta", "kdrl_annealed: teacher.beta", "kdrl_k3: teacher.beta"),
    "student": policies.STUDENT | {"target": 0.1},
    "teacher": policies.IN_STEPS | {"target": 0.85},
}
TEACHER = {
    "beta": 1.0, "beta_minimum": 0.0, "beta_decrement": 0.0, "kind": "k2", "keep": "none", "denominator": "all",
    "clip": 20.0,  # bound on |R|, for k2; None: none
}  # fmt: skip
METHODS = {
    "grpo": {}, "sft_teacher": {"method": "sft"}, "kd_rkl": {"advantage": "none", "teacher": TEACHER},
    "kdrl": {"teacher": TEACHER}, "kdrl_annealed": {"teacher": TEACHER},
    **{f"kdrl_{keep}": {"teacher": TEACHER | {"keep": keep}} for keep in ("response", "group")},
    "kdrl_k3": {"teacher": TEACHER | {"kind": "k3", "clip": None}},
}  # fmt: skip


def annealed(beta: float, steps: int, *, of: str = "") -> dict[str, float]:
    """Beta falls to a fifth over the first 30 % of the steps."""
    values = {"beta": beta, "beta_minimum": 0.2 * beta, "beta_decrement": 0.8 * beta / (0.3 * steps)}
    return {f"{of}teacher.{key}": value for key, value in values.items()}


ONE, BOTH = {"learning_rate": 1e-3}, {"learning_rate": 1e-3, "teacher.beta": 0.1}
ARMS = {
    **dict.fromkeys(("grpo", "kd_rkl", "sft_teacher"), ONE),
    **dict.fromkeys(("kdrl", "kdrl_response", "kdrl_group", "kdrl_k3"), BOTH),
    "kdrl_annealed": ONE | annealed(1.0, steps=150),
}
RATES, BETAS = (5e-4, 1e-3, 2e-3), (0.1, 1.0)
GRID = {
    **dict.fromkeys(("grpo", "kd_rkl", "sft_teacher"), grid({"learning_rate": (2e-4, *RATES, 4e-3, 8e-3)})),
    **dict.fromkeys(("kdrl", "kdrl_k3"), grid({"learning_rate": RATES, "teacher.beta": BETAS})),
    "kdrl_annealed": [{"learning_rate": rate, **annealed(beta, steps=150)} for rate in RATES for beta in BETAS],
}  # fmt: skip
EDGES = dict.fromkeys(
    ("kdrl", "kdrl_annealed", "kdrl_k3"), "betas of 0.1 and 1, beside three rates: not widened"
)
EARLY = {"needs": ("weak", "strong", "room")}  # a claim about the way there
GATES = {"needs": (*EARLY["needs"], "converged")}
CLAIMS = (
    headline("kdrl_annealed", "grpo", source="abstract", **GATES),
    secondary("kdrl_annealed", "kd_rkl", source="abstract", **GATES),
    secondary("kdrl_annealed", "sft_teacher", source="abstract", **GATES),
    secondary("kdrl_annealed", "grpo", "kdrl_annealed learns sooner than grpo", metric="mean_reward", name="sooner",
              **EARLY),
    ablation("kdrl_annealed", "kdrl", **GATES),
    ablation("kdrl", "kdrl_k3", "kdrl with k2 beats k3", **GATES),
    ablation("kdrl_response", "kdrl", "the teacher of wrong answers alone beats that of all", **GATES),
    ablation("kdrl_group", "kdrl", "the teacher of hopeless groups alone beats that of all", **GATES),
    ablation("kdrl_annealed", "grpo", "kdrl_annealed beats grpo on harder problems", metric="test_harder/accuracy",
             name="harder", **GATES),
    premise("student", 0.1, "the student seldom succeeds", name="weak", relation="equivalent", sesoi=0.08),
    premise("teacher", 0.85, "the teacher seldom fails", name="strong", relation="equivalent", sesoi=0.1),
    premise("kdrl_annealed", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
    room(1.0, "grpo", "grpo leaves room", name="room", sesoi=0.04),
)  # fmt: skip

ANNEALED = "arms.kdrl_annealed."
FEW = ("grpo", "kd_rkl", "kdrl_annealed")
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
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=policies.ARM, methods=METHODS,
    smoke=policies.SMOKE | policies.SMALL_SORTING
    | {"arms": FEW, "teacher": policies.TINY, "eval_samples": 4, **annealed(1.0, steps=4, of=ANNEALED)},
    tune={"minutes": 12.0, "eval_every": 150}, long=("steps",),
    variants={"quick": {"arms": FEW, "minutes": 2.0, "steps": 75, **annealed(1.0, steps=75, of=ANNEALED)},
              "paper": PAPER},
)  # fmt: skip
