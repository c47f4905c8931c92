"""Noise masks that a policy proposes, then clean fine-tuning: does the policy help, or the noise, or the warm restart?

Policy Gradient-Driven Noise Mask, 2024, arXiv 2406.14568.

    python -m experiments.run --config=configs/distillation/noise_mask.py           # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/noise_mask.py:tune      # the search behind ARMS

300 digits, every seed its own, in two modalities, inverted or behind a grating; masks of 4 x 4 cells, blurred, over 8 x
8 pixels. All arms take the same number of steps, and all but `clean` end with the same tenth of clean fine-tuning at a
rate of its own. `clean`: no masks, one schedule; `clean_restart`: no masks, the schedule of the masked arms; `uniform`:
cells from Beta(1, 1); `bases`: masks from what the released loss has learned in a run of its own (a stage, beyond the
equal budget), the same for all images; `released`: the authors' loss, whose factor is the log of the *sum* of the
cells' densities and multiplies the classifier's loss as well; `reinforce`: the policy gradient with a baseline, the
mean of the other images' rewards. A reward is minus the image's cross-entropy, so both policies learn legible masks.
Other than in the paper: no batch normalisation in the policy; a small ConvNet. The paper: RadImageNet, grid 64 on
crops of 224 pixels, kernel 13, sigma 6, batches of 256, SGD 0.1 and 0.01, 90 + 10 epochs.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, room, secondary

BEFORE = {"method": "released", "schedule": "restart", "learning_rate": 0.03, "finetune_rate": 0.03}
BASE = {
    "experiment": "distillation.train_masked",
    "paper": "Policy Gradient-Driven Noise Mask (2024, arXiv 2406.14568)",
    "scale": "toy (a small ConvNet, 300 digits)",
    "seeds": 16, "first_seed": 200, "seeds_by": "map",
    "eval_every": 200, "checkpoint_every": 1000,
    "steps": 1000,
    "masked_fraction": 0.9,
    "batch_size": 32,
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "policy_rate": 0.01,
    "clip_norm": 5.0,  # of the classifier's gradient and of the policy's, 0 for none
    "texture": 0.6,  # share of the grating in a textured image
    "data": {"source": "digits", "part": "rest", "train": 300, "val": 400, "test": 640},
    "net": {"channels": (8, 16), "policy": (32,)},
    "mask": {"grid": 4, "kernel": 3, "sigma": 1.0, "base_decay": 0.9, "update_decay": 0.99},
    "bases": BEFORE,  # the run that the arm `bases` has them from: `released`, as below
}  # fmt: skip
ARM = {"method": "none", "schedule": "restart", "finetune_rate": 0.01}
METHODS = {
    "clean": {"schedule": "single"},
    "clean_restart": {},
    **{name: {"method": name} for name in ("uniform", "bases", "released", "reinforce")},
}
ARMS = {
    "clean": {"learning_rate": 0.02},
    "clean_restart": {"learning_rate": 0.03, "finetune_rate": 0.003},
    "uniform": {"learning_rate": 0.1, "finetune_rate": 0.03},
    "bases": {"learning_rate": 0.03, "finetune_rate": 0.003},
    "released": {"learning_rate": 0.03, "finetune_rate": 0.003},
    "reinforce": {"learning_rate": 0.03, "finetune_rate": 0.003},
}
RESTART = grid({"learning_rate": (0.01, 0.03, 0.1), "finetune_rate": (0.003, 0.03)})
GRID = dict.fromkeys(METHODS, RESTART) | {
    "clean": grid({"learning_rate": (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)})
}
EDGES = {
    "finetune_rate": TWO_VALUES,
    "uniform": "0.1 is the highest; 0.03 is within one standard error",
}
GATES = {"needs": ("depends", "converged")}
CLAIMS = (
    headline("released", "clean", "the released method beats clean training", needs=("room", "converged")),
    secondary("released", "uniform", "the released method beats masks that know nothing", **GATES),
    secondary("reinforce", "clean", "REINFORCE beats clean training", needs=("room", "converged")),
    secondary("reinforce", "uniform", "REINFORCE beats masks that know nothing", **GATES),
    ablation("reinforce", "bases", "masks for each image beat the same for all", **GATES),
    ablation("uniform", "clean_restart", "noise alone helps", needs=("room", "converged")),
    ablation("clean_restart", "clean", "the warm restart alone helps", needs=("room", "converged")),
    room("clean", 0.98, "clean training leaves room", name="room", lower_is_better=True, sesoi=0.02),
    premise("released", 0, "its masks depend on the image", name="depends", metric="train/mask_spread", sesoi=0.02),
    premise("released", 0, "the last fifth changes little", name="converged", metric="val/late_change",
            relation="equivalent"),
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("uniform", "released", "reinforce"), "log_every": 2, "eval_every": 4, "checkpoint_every": 4,
           "steps": 4, "masked_fraction": 0.5, "batch_size": 8, "net": {"channels": (4,), "policy": (8,)}},
    tune={"minutes": 5.0}, long=("steps",),
)  # fmt: skip
