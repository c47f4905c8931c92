"""Random teachers are good teachers: a student of an untrained teacher learns features that neither had.

Paper: Random Teachers are Good Teachers, 2023, arXiv 2302.12091 (ICML 2023).

    python -m experiments.run --config=configs/distillation/random_teacher.py                  # about 3 minutes
    python -m experiments.run --config=configs/distillation/random_teacher.py:tune --publish   # behind CHOSEN

Task: twenty procedural classes in five groups, 12 x 12 pixels, displaced, so that a linear model of the pixels is far
from the best one. Nobody sees a label before the probe, except the ceiling `labels`. The students begin next to the
teacher (`near`, alpha 1e-10), some way off (`between`, 0.3) or independent of it (`far`, 1); `near_noise` sees
Gaussian noise of the images' mean and spread in place of images. `teacher` and `pixels` train nothing; their three
settings are the probe's, as every arm has three. No augmentation, no weight decay, a constant rate, as in the paper;
images are centred and scaled by the training set's mean and spread.

Withdrawn, all that speaks of `near`: at alpha 1e-10 it is the teacher to float32 rounding, and its gradients are 1e-10,
so that nothing was trained. Another form of that arm is needed.

Found (8 seeds, linear probe on test images): not to be seen at this scale. The untrained teacher probes at 0.708, its
student next to it the same, -0.000 [-0.003, +0.002], and a student of noise too, +0.000 [-0.004, +0.005] between them;
raw pixels have 0.634, a trained encoder 0.966, so there is room. A student that begins some way off is 0.016 [-0.002,
+0.034] ahead of the near one, one that begins anywhere 0.005 [-0.032, +0.041], neither decided. Likely why: there is
next to nothing to learn. The outputs are cosines at temperature 1, nearly alike for all images: even an independent
student is 0.004 nats from its teacher over the first hundred steps, and the near one moves by 0.017 of the weights'
length. The paper's encoders are deep, their random features poor, and they train for 17,000 steps; pilots with 1,500
steps or with PyTorch's initialisation did not move further than 0.01 here. How sure: sure that three convolutions and
600 steps do not show it; the rates of the arms that begin further off, and of the ceiling, are the highest of three.

Variants: `:smoke` (seconds), `:tune`, and `:paper` (CIFAR-10 with a VGG-like encoder, width 65,536, 100 epochs: it
needs an accelerator and the user's images, and was not run).
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/distillation/distill_random_teacher.py.
ARM = {
    "learn": "distill",
    "alpha": 1e-10,
    "inputs": "images",
    "probe": "features",
    "learning_rate": 1e-3,
    "probe_decay": 1e-3,
}

METHODS = {
    "near": {},
    "between": {"alpha": 0.3},
    "far": {"alpha": 1.0},
    "near_noise": {"inputs": "noise"},
    "labels": {"learn": "labels", "alpha": 1.0},
    "teacher": {"learn": "nothing"},
    "pixels": {"learn": "nothing", "probe": "pixels"},
}

# Three settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
_TRAINED = [{"learning_rate": rate} for rate in (3e-4, 1e-3, 3e-3)]
_UNTRAINED = [{"probe_decay": decay} for decay in (0.0, 1e-3, 1e-2)]
GRID = {name: _UNTRAINED if name in ("teacher", "pixels") else _TRAINED for name in METHODS}

# The setting with the best mean validation accuracy of the linear probe in `:tune`.
CHOSEN = {"near": 1, "between": 2, "far": 2, "near_noise": 1, "labels": 2, "teacher": 2, "pixels": 0}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None or one of VARIANTS."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.distill_random_teacher",
            "paper": "Random Teachers are Good Teachers (2023, arXiv 2302.12091)",
            "scale": "toy (three convolutions, procedural classes)",
            "minutes": 3.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "map",
            "mesh": {"seed": 0, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 600,
            "checkpoint_every": 600,
            "steps": 600,
            "batch_size": 64,
            "test": True,  # False keeps the test split out of the run
            "data": {"source": "hierarchy", "split_seed": 0, "train": 4000, "val": 2000, "test": 2000,
                     "superclasses": 5, "classes_per_superclass": 4, "size": 12, "difficulty": 0.5},
            "net": {
                "channels": (16, 32, 64),
                "projector": (64, 64),
                "bottleneck": 32,
                "outputs": 256,  # above the bottleneck's width
                "weight_norm": True,
                "init_std": 0.0,  # of the head; 0 keeps the variance, which the paper's 0.02 does at width 2,048
            },
            "probe": {"train_examples": 2000, "steps": 100, "learning_rate": 0.1, "neighbors": 20,
                      "chunk": 0},  # images at a time, 0 for all
            "landscape": {"images": 256, "points": 21, "line": ("near", "between", "far"), "plane": ("near", "far")},
            "arms": {name: _arm(name, GRID[name][CHOSEN[name]]) for name in METHODS},
        }
    )  # fmt: skip
    as_good = {"relation": "equivalent", "sesoi": 0.02}
    config.claims = (
        _claim("headline", "near", "teacher", "a student probes better than its untrained teacher"),
        _claim("secondary", "near", "pixels", "it probes better than the raw pixels"),
        _claim("secondary", "near", "near_noise", "real images matter: better than a student of noise"),
        _claim("secondary", "near", "far", "beginning next to the teacher beats beginning anywhere"),
        _claim("ablation", "between", "near", "beginning some way off is as good", **as_good),
        _claim("ablation", "near_noise", "teacher", "a student of noise probes like its teacher", **as_good),
        _claim("room", "labels", "near", "there is room left to a trained encoder"),
    )
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _arm(name: str, setting: dict) -> dict:
    return ARM | METHODS[name] | setting


def _claim(kind: str, arm: str, versus: str, text: str, **more: float | str) -> dict:
    return {"name": f"{arm}_over_{versus}", "text": text, "kind": kind, "metric": "test/probe_accuracy", "arm": arm,
            "versus": versus, **more}  # fmt: skip


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on five seeds of its own, judged by validation alone."""
    config.minutes = 5.0
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test = False
    config.arms = ConfigDict(
        {f"{name}_{n}": _arm(name, setting) for name, grid in GRID.items() for n, setting in enumerate(grid)}
    )


def _smoke(config: ConfigDict) -> None:
    """Seconds: three arms, two seeds, a few steps, a tiny net, digits."""
    names = ("near", "near_noise", "pixels")
    config.arms = ConfigDict({name: config.arms[name].to_dict() for name in names})
    config.claims = tuple(c for c in config.claims if c["arm"] in names and c["versus"] in names)
    config.minutes = 0.3
    config.seeds = 2
    config.steps = 4
    config.log_every, config.eval_every, config.checkpoint_every = 2, 4, 4
    config.batch_size = 8
    config.data = ConfigDict({"source": "digits", "split_seed": 0})
    config.net.update({"channels": (4,), "projector": (8,), "bottleneck": 4, "outputs": 8})
    config.probe.update({"train_examples": 64, "steps": 5, "neighbors": 3})
    config.landscape.update({"images": 8, "points": 5})


def _paper(config: ConfigDict) -> None:
    """CIFAR-10, a plain convolutional encoder in VGG11's place, AdamW 1e-3, batch 256, 100 epochs.

    The paper's section 3 and appendix E; VGG11 has eight convolutions in five stages where this encoder has five. The
    images are the user's: `--config.data.path=cifar10.npz` (train_image, train_label, test_image, test_label).
    """
    config.scale = "paper"
    config.minutes = 600.0
    config.seeds = 5
    config.mesh.seed = 1
    config.data = ConfigDict({"source": "npz", "path": "", "split_seed": 0, "val_fraction": 0.1})
    config.net.update({"channels": (64, 128, 256, 512, 512), "projector": (2048, 2048), "bottleneck": 256,
                       "outputs": 65536, "init_std": 0.02})  # fmt: skip
    config.batch_size = 256
    config.steps = 100 * 45_000 // 256
    config.probe.update({"train_examples": 45_000, "steps": 500, "chunk": 1000})
    config.log_every, config.eval_every, config.checkpoint_every = 175, 1750, 1750
