"""Does a student near its teacher leave the truth? On teacher hacking (2025, arXiv 2502.02671), with exact distances.

Paper: On Teacher Hacking in Language Model Distillation, 2025, arXiv 2502.02671.

    python -m experiments.run --config=configs/distillation/teacher_hacking.py  # about 3 minutes on 2 CPU cores

Task. A random decoder is the truth (oracle): prompts of 3 tokens, answers of 5, 8 tokens in all. The teacher is
trained on 1,600 of its answers, the smaller student for fewer steps on the same, as in the paper; then the student is
distilled on 60 other prompts with the forward KL per token, every arm for the same number of updates at the same
constant learning rate. Sources: `offline`, one stored answer of the teacher per prompt; `fewer_2` and `fewer_5`, 2 and
5 times fewer prompts with as many more answers; `more_5`, five stored answers for every prompt; `online_teacher` and
`online_student`, answers sampled anew; `mixed`, half a batch stored and half the student's own; `start`, no update, as
the zero of the changes.

Metrics, on held-out prompts. `proxy` is KL(teacher || student) and `golden` KL(oracle || student), both exact over
whole answers; the paper's own divergence was not seen. `hacking` is how far golden stands above its lowest value,
`proxy_fall` how far proxy fell since then: hacking needs both above 0, as a proxy that rises as well is plain
overfitting. `val_seen` has the proxy on prompts of the training, `deviation` how far the proxy strays from a power
law, the paper's sign that needs no oracle. The smallest effect of interest, 0.02 nats, keeps a single late wobble from
counting.

Variants: `:smoke` (seconds), `:tune` (learning rates for every arm on seeds of their own, validation only), `:paper`
(longer answers over more tokens on the same code; the paper's T5-large, T5-base and XSum are not here).

Found (8 seeds, nats on test prompts, curves of ten points evenly spaced on a logarithmic axis; the teacher is 0.583
from the truth, the student begins at 0.724). Offline, golden rises by 0.040 [-0.002, +0.083] from its best and proxy
falls by 0.022 [-0.047, +0.091] meanwhile; golden rises in five of eight seeds, and nothing is decided. Five times fewer
prompts make golden rise by 0.211 [+0.067, +0.354] more, but there proxy rises too (by 0.10): that is overfitting, not
hacking. Fresh answers of the teacher or the student, half of them, or five stored answers for every prompt bring the
student to 0.59 with rises of 0.006 to 0.013; offline it ends at 0.745, +0.158 [+0.104, +0.211] above online, and above
its start. So the paper's remedies help, and what they heal is mostly lack of data. The power law is no sign of it here:
online curves, which turn nowhere, stray the most (0.18 against 0.07). How sure: one shape of oracle and models of a few
thousand parameters; 800 updates. The teacher, and after a first run in which golden turned in no arm (a student that
had seen 200 of the oracle's answers) the student, were changed in view of pilots and of that run; the rate is the
larger of two.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/distillation/hack_teacher.py.
ARM = {
    "source": "offline",
    "prompts": 60,
    "generations": 1,
    "learning_rate": 2e-3,
    "decay": False,
    "weight_decay": 0.0,
}

METHODS = {
    "start": {"source": "none"},
    "offline": {},
    "fewer_2": {"prompts": 30, "generations": 2},
    "fewer_5": {"prompts": 12, "generations": 5},
    "more_5": {"generations": 5},
    "online_teacher": {"source": "teacher"},
    "online_student": {"source": "student"},
    "mixed": {"source": "mixed"},
}

# Two learning rates for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
GRID = {name: [{"learning_rate": rate} for rate in (1e-3, 2e-3)] for name in METHODS if name != "start"}

# One rate for all arms, as when golden turns depends on it: the best mean validation proxy of `online_teacher` in
# `:tune` (results/distillation/teacher_hacking-tune.json).
CHOSEN = 1


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None or one of VARIANTS."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.hack_teacher",
            "paper": "On Teacher Hacking in Language Model Distillation (2025, arXiv 2502.02671)",
            "scale": "toy (decoders of a few thousand parameters, a procedural oracle)",
            "minutes": 3.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 0, "data": 1, "model": 1},
            "log_every": 50,
            "eval_every": 50,  # a point of the curves from which `hacking`, `proxy_fall` and `deviation` are taken
            "checkpoint_every": 800,
            "steps": 800,
            "batch_size": 32,
            "test": True,  # False keeps the test split out of the run
            "vocab": 8,
            "length": 5,  # tokens of an answer
            "prompt_length": 3,
            "split_seed": 0,
            "prompts": {"distil": 60, "val": 12, "test": 24, "sft": 400},
            "oracle": {"shape": _shape(24), "sharpness": 2.0, "generations": 4},
            "teacher": _trained(24, examples=1600, steps=600),
            "student": _trained(16, examples=1600, steps=400),
            "arms": {name: _arm(name, GRID[name][CHOSEN] if name in GRID else {}) for name in METHODS},
        }
    )
    as_good = {"relation": "equivalent"}
    config.claims = (
        _claim("headline", "offline", "start", "offline, golden rises from its best", "hacking"),
        _claim("premise", "offline", "start", "offline, proxy still falls meanwhile", "proxy_fall"),
        _claim("secondary", "offline", "online_teacher", "it rises more than with the teacher's fresh answers",
               "hacking"),
        _claim("secondary", "offline", "online_student", "it rises more than with the student's own answers",
               "hacking"),
        _claim("ablation", "fewer_5", "offline", "fewer prompts at the same size make it worse", "hacking"),
        _claim("ablation", "offline", "more_5", "more answers per prompt make it better", "hacking"),
        _claim("secondary", "online_teacher", "start", "online, golden does not rise", "hacking", **as_good),
        _claim("ablation", "offline", "online_teacher", "offline, the student ends further from the truth", "golden"),
        _claim("ablation", "offline", "online_teacher", "the proxy strays further from a power law", "deviation"),
    )  # fmt: skip
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _shape(width: int, layers: int = 1, heads: int = 2) -> dict:
    return {"width": width, "num_layers": layers, "num_heads": heads, "mlp_width": 2 * width}


def _trained(width: int, *, examples: int, steps: int) -> dict:
    return {"shape": _shape(width), "examples": examples, "steps": steps, "learning_rate": 3e-3, "decay": True,
            "weight_decay": 0.0}  # fmt: skip


def _arm(name: str, setting: dict) -> dict:
    return ARM | METHODS[name] | setting


def _claim(kind: str, arm: str, versus: str, text: str, metric: str, **more: str) -> dict:
    return {"name": f"{arm}_over_{versus}_{metric}", "text": text, "kind": kind, "metric": f"test/{metric}", "arm": arm,
            "versus": versus, "sesoi": 0.02, **more}  # fmt: skip


def _keep(config: ConfigDict, names: tuple[str, ...]) -> None:
    """Leave out the other arms, and the claims that speak of them."""
    config.arms = ConfigDict({name: config.arms[name].to_dict() for name in names})
    config.claims = tuple(c for c in config.claims if c["arm"] in names and c["versus"] in names)


def _smoke(config: ConfigDict) -> None:
    """Seconds: three arms, two seeds, a few steps, short answers over few tokens."""
    _keep(config, ("start", "offline", "mixed"))
    config.minutes = 0.5
    config.seeds = 2
    config.vocab, config.length = 3, 3
    config.steps, config.batch_size = 4, 4
    config.log_every, config.eval_every, config.checkpoint_every = 2, 2, 4
    config.prompts = ConfigDict({"distil": 6, "val": 2, "test": 3, "sft": 8})
    config.oracle.generations = 1
    for name in ("oracle", "teacher", "student"):
        config[name].shape.update({"width": 4, "num_heads": 1, "mlp_width": 4})
    for name in ("teacher", "student"):
        config[name].update({"examples": 8, "steps": 2})
    for arm in config.arms.values():
        arm.prompts = 6


def _tune(config: ConfigDict) -> None:
    """Both rates for every arm, on five seeds of their own, judged by validation alone."""
    config.minutes = 5.0
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test = False
    config.arms = ConfigDict(
        {f"{name}_{n}": _arm(name, setting) for name, grid in GRID.items() for n, setting in enumerate(grid)}
    )


def _paper(config: ConfigDict) -> None:
    """As near as exact distances allow: answers of 6 over 12 tokens, deeper models, many more samples and updates.

    The paper distils T5-large into T5-base on 200,000 prompts for 390,625 updates, with distances that it estimates;
    an accelerator is needed even for this, and it was never run.
    """
    config.scale = "larger decoders, a procedural oracle"
    config.minutes = 600.0
    config.vocab, config.length, config.prompt_length = 12, 6, 4
    config.prompts = ConfigDict({"distil": 6000, "val": 32, "test": 128, "sft": 12_000})
    config.oracle.update({"shape": _shape(256, 4, 8), "generations": 8})
    config.teacher.update({"shape": _shape(256, 4, 8), "examples": 96_000, "steps": 50_000})
    config.student.update({"shape": _shape(64, 2, 4), "examples": 96_000, "steps": 10_000})
    config.steps = 390_625
    config.log_every, config.eval_every, config.checkpoint_every = 1000, 20_000, 20_000
    for arm in config.arms.values():
        arm.learning_rate, arm.prompts = 3e-4, 100 * arm.prompts
