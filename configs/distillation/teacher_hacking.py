"""Does a student that nears its teacher leave the truth? On teacher hacking, with exact distances.

On Teacher Hacking in Language Model Distillation, 2025, arXiv 2502.02671.

    python -m experiments.run --config=configs/distillation/teacher_hacking.py          # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/teacher_hacking.py:tune     # four rates for every arm

A random decoder is the truth (oracle): prompts of 3 tokens, answers of 5, of 8 tokens in all. The teacher is trained
on 1,600 of its answers, the smaller student for fewer steps on the same, as in the paper; then the student is
distilled on 60 other prompts with the forward KL per token, for as many updates in every arm. `offline`: one stored
answer of the teacher per prompt; `fewer_2`, `fewer_5`: so many times fewer prompts with as many more answers;
`more_5`: five stored answers for every prompt; `online_teacher`, `online_student`: answers sampled anew; `mixed`: half
a batch stored, half the student's own; `start`: no update, the zero of the changes.
Metrics on held-out prompts: `proxy`, KL(teacher || student), and `golden`, KL(oracle || student), exact over whole
answers. `hacking` is how far golden ends above its lowest value, `proxy_fall` how far proxy fell since then: hacking
needs both above 0, as a proxy that rises as well is overfitting. `deviation` is how far proxy strays from a power law,
the paper's sign that needs no oracle. 0.02 nats, the smallest effect of interest, keep a single late wobble from
counting.
Other than in the paper: procedural models for T5-large and T5-base on XSum, distances that are exact for distances
that are estimated, 800 updates for 390,625.
"""

from configs._comparison import ablation, comparison, grid, headline, premise, secondary

SHAPE = {"num_layers": 1, "num_heads": 2}
WIDE, NARROW = SHAPE | {"width": 24, "mlp_width": 48}, SHAPE | {"width": 16, "mlp_width": 32}
TRAINED = {"examples": 1600, "learning_rate": 3e-3, "decay": True, "weight_decay": 0.0}
BASE = {
    "experiment": "distillation.hack_teacher",
    "paper": "On Teacher Hacking in Language Model Distillation (2025, arXiv 2502.02671)",
    "scale": "toy (decoders of a few thousand parameters, a procedural oracle)",
    "seeds": 16,
    "first_seed": 200,
    "open_edges": ("offline: learning_rate",),
    "log_every": 50,
    "eval_every": 50,  # a point of the curves from which `hacking`, `proxy_fall` and `deviation` are taken
    "checkpoint_every": 800,
    "steps": 800,
    "batch_size": 32,
    "vocab": 8,
    "length": 5,  # tokens of an answer
    "prompt_length": 3,
    "split_seed": 0,
    "prompts": {"distil": 60, "val": 12, "test": 24, "sft": 400},
    "oracle": {"shape": WIDE, "sharpness": 2.0, "generations": 4},
    "teacher": TRAINED | {"shape": WIDE, "steps": 600},
    "student": TRAINED | {"shape": NARROW, "steps": 400},
}
ARM = {
    "method": "offline",
    "prompts": 60,
    "generations": 1,
    "learning_rate": 4e-3,
    "decay": False,
    "weight_decay": 0.0,
}
ARMS = {
    "start": {"method": "start"},
    "offline": {},
    "fewer_2": {"prompts": 30, "generations": 2},
    "fewer_5": {"prompts": 12, "generations": 5},
    "more_5": {"generations": 5},
    "online_teacher": {"method": "online_teacher"},
    "online_student": {"method": "online_student"},
    "mixed": {"method": "mixed"},
}
GRID = {name: grid({"learning_rate": (5e-4, 1e-3, 2e-3, 4e-3)}) for name in ARMS if name != "start"}
HACKING = {"metric": "hacking", "sesoi": 0.02}
EDGES = {"learning_rate": "4e-3, the highest, is best for all: not widened"}
JUDGE = "-val/proxy"  # of `online_teacher`
CLAIMS = (
    headline("offline", "start", "offline, golden rises from its best", needs=("offline_over_start_proxy_fall",),
             **HACKING),
    premise("offline", "start", "offline, proxy still falls meanwhile", metric="proxy_fall", sesoi=0.02),
    secondary("offline", "online_teacher", "it rises more than with the teacher's fresh answers", **HACKING),
    ablation("offline", "online_student", "it rises more than with the student's own answers", **HACKING),
    ablation("fewer_5", "offline", "fewer prompts at the same size make it worse", **HACKING),
    ablation("offline", "more_5", "more answers per prompt make it better", **HACKING),
    secondary("online_teacher", "start", "online, golden does not rise", relation="equivalent", **HACKING),
    ablation("offline", "online_teacher", "offline, the student ends further from the truth", metric="golden",
             sesoi=0.02),
    ablation("offline", "online_teacher", "the proxy strays further from a power law", metric="deviation",
             sesoi=0.02),
)  # fmt: skip

TINY = {"width": 4, "num_layers": 1, "num_heads": 1, "mlp_width": 4}
get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/hacking", arm=ARM,
    smoke={"arms": ("start", "offline", "mixed"), "arms.*.prompts": 6, "minutes": 0.5, "log_every": 2,
           "eval_every": 2, "checkpoint_every": 4, "steps": 4, "batch_size": 4, "vocab": 3, "length": 3,
           "prompts": {"distil": 6, "val": 2, "test": 3, "sft": 8}, "oracle.generations": 1, "oracle.shape": TINY,
           "teacher.shape": TINY, "teacher.examples": 8, "teacher.steps": 2, "student.shape": TINY,
           "student.examples": 8, "student.steps": 2},
    tune={"minutes": 5.0}, long=("steps",),
)  # fmt: skip
