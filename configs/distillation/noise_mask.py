"""Noise masks that a policy proposes, then clean fine-tuning: does the policy help, or the noise, or the warm restart?

Paper: Policy Gradient-Driven Noise Mask, 2024, arXiv 2406.14568.

    python -m experiments.run --config=configs/distillation/noise_mask.py                  # about 3 minutes
    python -m experiments.run --config=configs/distillation/noise_mask.py:tune --publish   # behind CHOSEN

Task: 300 of scikit-learn's digits in two modalities, inverted or behind a grating; masks of 4 x 4 cells, blurred, over
8 x 8 pixels. Every arm takes the same number of steps; all but `clean` end with the same tenth of clean fine-tuning at
a rate of its own. `clean`: no masks, one schedule. `clean_restart`: no masks, but the schedule of the masked arms.
`uniform`: cells from Beta(1, 1). `bases`: masks from the bases that the released loss has learned in a run of its own
(`prepare`, computed beyond the equal budget), the same for all images. `released`: the authors' loss, whose factor is
the log of the *sum* of the cells' densities and multiplies the classifier's loss as well. `reinforce`: the policy
gradient with a baseline, the mean of the other images' rewards. A reward is minus the image's cross-entropy, so both
policies learn masks that keep images legible. The paper's heads have batch normalisation; the policy here has none.

Found (8 seeds, test accuracy, intervals of paired differences): nothing beats clean training, 0.625. Released loss
-0.004 [-0.041, +0.032], REINFORCE -0.020 [-0.049, +0.010], uniform masks 0.623, bases 0.611; no policy beats masks
that know nothing, noise alone gives +0.002 [-0.030, +0.033], the warm restart -0.005 [-0.012, +0.003]. Why: the
released loss teaches its policy nothing, its mean mask stays at one half everywhere; REINFORCE learns to let nearly
all pass (mean 0.75), the same for both modalities, as its reward asks for; and masks keep the classifier from fitting
300 images (0.82 to 0.87 of them right at the end, 1.00 without) and better only in likelihood (nll 1.3 against 1.7).
How sure: intervals are three points wide and would hide a gain of one; of the rates, nearly all arms took the lowest
that they were offered; the grating is hard for every arm (0.34 to 0.38 of its images right, 0.85 to 0.89 of the
inverted ones).

Variants: `:smoke` (seconds), `:tune`, and `:paper` (grid 64 on crops of 224, 90 + 10 epochs; the user's images, an
accelerator; not run).
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/distillation/train_masked.py.
ARM = {"masks": "none", "schedule": "restart", "learning_rate": 0.1, "finetune_rate": 0.01}

METHODS = {
    "clean": {"schedule": "single"},
    "clean_restart": {},
    "uniform": {"masks": "uniform"},
    "bases": {"masks": "bases"},
    "released": {"masks": "released"},
    "reinforce": {"masks": "reinforce"},
}

# Four settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
_SINGLE = [{"learning_rate": rate} for rate in (0.01, 0.03, 0.1, 0.3)]
_RESTART = [
    {"learning_rate": rate, "finetune_rate": tuning} for rate in (0.03, 0.1) for tuning in (0.003, 0.03)
]
GRID = {name: _SINGLE if name == "clean" else _RESTART for name in METHODS}

# The setting with the best mean validation accuracy in `:tune`.
CHOSEN = {"clean": 1, "clean_restart": 0, "uniform": 0, "bases": 0, "released": 1, "reinforce": 0}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None or one of VARIANTS."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.train_masked",
            "paper": "Policy Gradient-Driven Noise Mask (2024, arXiv 2406.14568)",
            "scale": "toy (a small ConvNet, 300 digits)",
            "minutes": 3.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "map",
            "mesh": {"seed": 0, "data": 1, "model": 1},
            "log_every": 100,
            "eval_every": 1000,
            "checkpoint_every": 1000,
            "steps": 1000,
            "masked_fraction": 0.9,
            "batch_size": 32,
            "weight_decay": 1e-4,
            "momentum": 0.9,
            "policy_rate": 0.01,
            "clip_norm": 5.0,  # of the whole gradient, 0 for none
            "texture": 0.6,  # share of the grating in a textured image
            "test": True,  # False keeps the test split out of the run
            "data": {"source": "digits", "split_seed": 0, "train_examples": 300},
            "net": {"channels": (8, 16), "policy": (32,)},
            "mask": {"grid": 4, "kernel": 3, "sigma": 1.0, "base_decay": 0.9, "update_decay": 0.99},
            "bases": _arm("released", GRID["released"][CHOSEN["released"]]),  # where the arm `bases` has them from
            "arms": {name: _arm(name, GRID[name][CHOSEN[name]]) for name in METHODS},
        }
    )  # fmt: skip
    config.claims = (
        _claim("headline", "released", "clean", "the released method beats clean training"),
        _claim("secondary", "released", "uniform", "the released method beats masks that know nothing"),
        _claim("secondary", "reinforce", "clean", "REINFORCE beats clean training"),
        _claim("secondary", "reinforce", "uniform", "REINFORCE beats masks that know nothing"),
        _claim("ablation", "reinforce", "bases", "masks for each image beat the same for all"),
        _claim("ablation", "uniform", "clean_restart", "noise alone helps"),
        _claim("ablation", "clean_restart", "clean", "the warm restart alone helps"),
    )
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _arm(name: str, setting: dict) -> dict:
    return ARM | METHODS[name] | setting


def _claim(kind: str, arm: str, versus: str, text: str) -> dict:
    return {"name": f"{arm}_over_{versus}", "text": text, "kind": kind, "metric": "test/accuracy", "arm": arm,
            "versus": versus}  # fmt: skip


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
    """Seconds: three arms, two seeds, a few steps, a tiny net."""
    names = ("uniform", "released", "reinforce")
    config.arms = ConfigDict({name: config.arms[name].to_dict() for name in names})
    config.claims = tuple(c for c in config.claims if c["arm"] in names and c["versus"] in names)
    config.minutes = 0.3
    config.seeds = 2
    config.steps, config.masked_fraction = 4, 0.5
    config.log_every, config.eval_every, config.checkpoint_every = 2, 4, 4
    config.batch_size = 8
    config.net.update({"channels": (4,), "policy": (8,)})


def _paper(config: ConfigDict) -> None:
    """Grid 64, crops of 224 pixels, kernel 13, sigma 6, batch 256, SGD 0.1 and 0.01, 90 + 10 epochs.

    The authors train on RadImageNet with an ImageNet-sized net; the images are the user's, square and of one size:
    `--config.data.path=radimagenet.npz` (train_image, train_label, test_image, test_label). They are shown as given.
    """
    config.scale = "paper"
    config.minutes = 6000.0
    config.seeds = 3
    config.mesh.seed = 1
    config.texture = 0.0
    config.data = ConfigDict({"source": "npz", "path": "", "split_seed": 0, "val_fraction": 0.1})
    config.net.update({"channels": (64, 128, 256, 512, 512), "policy": (256, 256)})
    config.mask.update({"grid": 64, "kernel": 13, "sigma": 6.0})
    config.clip_norm = 0.0
    config.batch_size, config.steps = 256, 100 * 1_000_000 // 256
    config.log_every, config.eval_every, config.checkpoint_every = 500, 5000, 5000
    for arm in (config.bases, *config.arms.values()):
        arm.learning_rate, arm.finetune_rate = 0.1, 0.001
