"""Do teacher and student gain from talking? Inspired by Talking Models (2023, arXiv 2310.03188).

Paper: Talking Models: Distill Pre-trained Knowledge to Downstream Models via Interactive Communication, 2023, arXiv
2310.03188. Its text was not to be had; the method here is a reconstruction from abstract and reviews, and what it
finds speaks of the reconstruction. Assumed, because unknown: that the interaction loss is the task's loss after the
reply (it may be a distance between states); squared distances for message and state consistency; two-layer codecs of
each model's own; a frozen teacher; that the student's reply takes the place of its lower layers' state; all weights.

    python -m experiments.run --config=configs/distillation/talking_models.py  # about 2 minutes on 2 CPU cores

Task. The teacher names upright digits (scikit-learn's 1,797 images) and is frozen. The student is given a few digits
that are turned by up to 40 degrees, and tells odd from even. Arms: `ce`, the labels alone; `kd`, the teacher's answers
grouped into odd and even; `hint`, its hidden state through a linear regressor (FitNet), which only this arm has;
`one_way`, where the teacher reports its state as a message; `two_way` with one and two rounds, where it answers the
student's. These three have the same codecs, losses and extra parameters, so that a gain of the conversation is not the
gain of more modules. `all_labels`, the labels of all training images, is the ceiling. The student is scored alone.

Variants: `:smoke` (seconds), `:tune` (the grid below on seeds of their own, validation only), `:paper` (wider nets on
Fashion-MNIST; the paper's own data, movie recommendation among them, are not here).

Withdrawn: what is said against the hint, against the labels alone, and of KD. The teacher's parity, 0.83 to 0.86, is no
better than that of a student alone, so that there was nothing to teach.

Found (8 seeds, test accuracy): talking does not pay here. The labels alone reach 0.865, KD 0.842, the hint 0.855,
one-way and two-way talk 0.843 each, all labels 0.944. Two-way against one-way with the same modules -0.000 [-0.011,
+0.011], a second round -0.001 [-0.007, +0.006], two-way against KD +0.001 [-0.016, +0.018], against the hint -0.012
[-0.022, -0.002], against the labels alone -0.022 [-0.036, -0.008]; KD against the labels -0.023 [-0.041, -0.006].
Likely why: the teacher knows upright digits, tells 0.65 to 0.69 of the turned ones and the parity of 0.83 to 0.86,
about what the student learns from 80 labels by itself: what it has to say is not better than what the student knows.
How sure: of this reconstruction and this pair of tasks, rather sure, all arms with a teacher agree; of the paper,
whose text was not to be had, it says nothing.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/distillation/talk.py.
ARM = {
    "method": "ce",
    "labels": "few",
    "rounds": 1,
    "weight": 1.0,  # of KD, of the hint, of the task after the replies
    "temperature": 2.0,
    "message_weight": 0.1,
    "state_weight": 0.1,
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
}

METHODS = {
    "ce": {},
    "kd": {"method": "kd"},
    "hint": {"method": "hint"},
    "one_way": {"method": "one_way"},
    "two_way_1": {"method": "two_way"},
    "two_way_2": {"method": "two_way", "rounds": 2},
    "all_labels": {"labels": "all"},
}

# Four settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
_LABELS = [{"learning_rate": rate, "weight_decay": decay} for rate in (1e-3, 3e-3) for decay in (1e-2, 1.0)]
_TALK = [
    {"weight": weight, "message_weight": other, "state_weight": other}
    for weight in (0.3, 1.0)
    for other in (0.1, 1.0)
]
GRID = {
    "ce": _LABELS,
    "kd": [
        {"weight": weight, "temperature": temperature} for weight in (0.3, 1.0) for temperature in (1.0, 4.0)
    ],
    "hint": [{"learning_rate": rate, "weight": weight} for rate in (1e-3, 3e-3) for weight in (0.1, 1.0)],
    "one_way": _TALK,
    "two_way_1": _TALK,
    "two_way_2": _TALK,
    "all_labels": _LABELS,
}

# The setting with the best mean validation accuracy in `:tune` (results/distillation/talking_models-tune.json).
CHOSEN = {"ce": 3, "kd": 0, "hint": 2, "one_way": 2, "two_way_1": 0, "two_way_2": 0, "all_labels": 2}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None or one of VARIANTS."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.talk",
            "paper": "Inspired by Talking Models (2023, arXiv 2310.03188): a reconstruction",
            "scale": "toy (small MLPs, digits)",
            "minutes": 2.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 0, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 500,
            "checkpoint_every": 1000,
            "steps": 1000,
            "batch_size": 32,
            "test": True,  # False keeps the test split out of the run
            "data": {"source": "digits", "split_seed": 0},
            "rotate": 40.0,  # largest angle of the student's images, in degrees
            "few": 80,  # how many training images the student has
            "teacher": {"width": 64, "steps": 800, "learning_rate": 3e-3, "weight_decay": 1e-2},
            "student": {"width": 24},
            "codec": {"message": 16, "hidden": 32},
            "arms": {name: _arm(name, GRID[name][CHOSEN[name]]) for name in METHODS},
        }
    )
    config.claims = (
        _claim("headline", "two_way_1", "one_way", "two-way talk beats a one-way codec of equal size"),
        _claim("secondary", "two_way_2", "two_way_1", "a second round helps"),
        _claim("secondary", "two_way_1", "kd", "two-way talk beats KD"),
        _claim("secondary", "two_way_1", "hint", "two-way talk beats a hint"),
        _claim("ablation", "two_way_1", "ce", "two-way talk beats the labels alone"),
        _claim("premise", "kd", "ce", "KD beats the labels alone"),
        _claim("room", "all_labels", "two_way_1", "there is room left to the ceiling"),
    )
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _arm(name: str, setting: dict) -> dict:
    return ARM | METHODS[name] | setting


def _claim(kind: str, arm: str, versus: str, text: str) -> dict:
    return {"name": f"{arm}_over_{versus}", "text": text, "kind": kind, "metric": "test/accuracy", "arm": arm,
            "versus": versus}  # fmt: skip


def _smoke(config: ConfigDict) -> None:
    """Seconds: three arms, two seeds, a few steps."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 3, 6, 6
    config.steps, config.teacher.steps = 6, 6
    config.batch_size = 8
    names = ("ce", "one_way", "two_way_1")
    config.arms = ConfigDict({name: config.arms[name].to_dict() for name in names})
    config.claims = tuple(c for c in config.claims if c["arm"] in names and c["versus"] in names)


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on five seeds of its own, judged by validation alone."""
    config.minutes = 5.0
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test = False
    config.arms = ConfigDict(
        {f"{name}_{n}": _arm(name, setting) for name, grid in GRID.items() for n, setting in enumerate(grid)}
    )


def _paper(config: ConfigDict) -> None:
    """The largest that these data allow: Fashion-MNIST with its own test set, wider nets, more steps; never run.

    The classes are then clothes, and odd or even an arbitrary grouping of them.
    """
    config.scale = "small, real (Fashion-MNIST)"
    config.minutes = 240.0
    config.data = ConfigDict(
        {"source": "fashion_mnist", "path": "", "split_seed": 0, "fractions": (0.9, 0.1, 0.0)}
    )
    config.few, config.batch_size = 2000, 128
    config.steps, config.teacher.steps = 20_000, 20_000
    config.teacher.width, config.student.width = 512, 128
    config.codec.update({"message": 64, "hidden": 256})
    config.log_every, config.eval_every, config.checkpoint_every = 200, 2000, 2000
