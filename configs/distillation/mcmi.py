"""MCMI: a teacher fine-tuned to tell the images of a class apart, against teachers that are only softer.

Paper: Bayes Conditional Distribution Estimation for Knowledge Distillation Based on Conditional Mutual Information,
2024, arXiv 2401.08732 (ICLR 2024).

    python -m experiments.run --config=configs/distillation/mcmi.py                  # about 3 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/mcmi.py:tune --publish   # the search behind CHOSEN

Tasks, all on one image set and from one kind of teacher, which has seen all of it: students on few images per class,
on all images, and on all images but those of one class (`omitted_recall` is the recall of that class on the test
images). Arms: the labels alone (ce); a teacher fine-tuned with weight 0, the same extra steps on the likelihood alone
(lambda_0); with the conditional information at 0.05, 0.15 and 0.25; the teacher of lambda_0 at the temperature that
gives it the mean entropy of that of lambda_15 (matched); and one that is paid for entropy instead, by 0.15 as well
(entropy). The claims speak of 0.15, fixed beforehand; 0.05 and 0.25 take its settings and show the dose. Centroids
follow the teacher as the paper has it (`decay`); the released code keeps them where they began (`decay` 1).

Withdrawn: mcmi over lambda_0 on few images. With temperature 8 for both and fresh seeds it is +0.0003 [-0.0024,
+0.0030].

Found (8 seeds, test accuracy; teachers 0.85). Fine-tuning with 0.15 raises the conditional information of the teacher
from 0.360 to 0.373 (with 0.25 to 0.385), at the price of 0.003 of its accuracy. With five images per class students
gain: distillation over the labels +0.096 [+0.087, +0.104], mcmi over lambda_0 +0.012 [+0.006, +0.017]; but tuning
gave lambda_0 temperature 4 and the others 8, and at 8 the matched teacher is only 0.004 [-0.000, +0.008] behind, that
of entropy 0.003 [-0.003, +0.009]. So what helps is mostly softness, by whichever means. With all images mcmi is
+0.003 [-0.001, +0.007] over lambda_0, and distillation itself does not beat the labels, -0.008 [-0.015, -0.001]. The
omitted class is recalled in 1 % of its images by every teacher's student (labels: 0): at temperature 1, which
accuracy chose there, nothing is told of it, and the paper's jump is not to be seen. How sure: the differences are
small and of one sign against the matched teacher in all three tasks, none decided; all images and the omitted class
took the lowest temperature offered, few images mostly the highest.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "tune", "paper")

# What an arm is unless it says otherwise; see experiments/distillation/finetune_teacher.py.
ARM = {
    "teacher": "none",
    "match": "",
    "ce_weight": 0.1,
    "weight": 0.9,
    "temperature": 4.0,
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
}

METHODS = {
    "ce": {"ce_weight": 1.0, "weight": 0.0},
    "lambda_0": {"teacher": "lambda_0"},
    "lambda_15": {"teacher": "lambda_15"},
    "matched": {"teacher": "lambda_0", "match": "lambda_15"},
    "entropy": {"teacher": "entropy_15"},
}
DOSES = ("lambda_05", "lambda_25")

# Four settings for every arm: the same effort for all. `:tune` trains each on seeds that decide nothing else.
_TEMPERATURES = [{"temperature": temperature} for temperature in (1.0, 2.0, 4.0, 8.0)]
GRID = {
    "ce": [{"learning_rate": rate, "weight_decay": decay} for rate in (3e-3, 1e-2) for decay in (1e-4, 1e-2)],
    "lambda_0": _TEMPERATURES,
    "lambda_15": _TEMPERATURES,
    "matched": _TEMPERATURES,
    "entropy": _TEMPERATURES,
}

# The setting with the best mean validation accuracy in `:tune` (results/distillation/mcmi-tune.json).
CHOSEN = {
    "few": {"ce": 2, "lambda_0": 2, "lambda_15": 3, "matched": 3, "entropy": 3},
    "all": {"ce": 2, "lambda_0": 0, "lambda_15": 0, "matched": 0, "entropy": 0},
    "omitted": {"ce": 2, "lambda_0": 0, "lambda_15": 0, "matched": 0, "entropy": 0},
}


def get_config(variant: str | None = None) -> ConfigDict:
    """The comparison; `variant` is None or one of VARIANTS."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "distillation.finetune_teacher",
            "paper": "Bayes Conditional Distribution Estimation for KD Based on CMI (2024, arXiv 2401.08732)",
            "scale": "toy (64-unit MLP, procedural classes)",
            "minutes": 3.0,
            "seeds": 8,
            "first_seed": 0,
            "seeds_by": "vmap",
            "mesh": {"seed": 1, "data": 1, "model": 1},
            "log_every": 200,
            "eval_every": 400,
            "checkpoint_every": 400,
            "batch_size": 64,
            "augment": "none",
            "test": True,  # False keeps the test split out of the run
            "tasks": {
                "few": _task("few", images_per_class=5),
                "all": _task("all"),
                "omitted": _task("omitted", omit_class=True),
            },
        }
    )
    config.claims = _claims()
    if variant:
        {"smoke": _smoke, "tune": _tune, "paper": _paper}[variant](config)
    return config


def _task(name: str, *, images_per_class: int = 0, omit_class: bool = False) -> dict:
    return {
        "data": {"source": "hierarchy", "split_seed": 0, "train": 2000, "val": 2000, "test": 4000,
                 "superclasses": 5, "classes_per_superclass": 4, "size": 8, "difficulty": 0.5},
        "images_per_class": images_per_class,  # that the student sees; 0 for all
        "omit_class": omit_class,  # keep one class from the student, which one depends on the seed
        "teacher": {"net": "mlp", "options": {"features": (128, 128)}, "steps": 1000, "learning_rate": 3e-3,
                    "weight_decay": 1e-4},
        "finetune": {"steps": 300, "learning_rate": 3e-3, "weight_decay": 1e-4},
        "teachers": _teachers(),
        "student": {"net": "mlp", "options": {"features": (64,)}, "steps": 800},
        "arms": _chosen(CHOSEN[name]),
    }  # fmt: skip


def _teachers() -> dict:
    """Weights of what is added to the likelihood, and how slowly the centroids follow."""
    copy = {"mcmi": 0.0, "entropy": 0.0, "decay": 0.98}
    doses = {f"lambda_{name}": copy | {"mcmi": weight}
             for name, weight in (("0", 0.0), ("05", 0.05), ("15", 0.15), ("25", 0.25))}  # fmt: skip
    return doses | {"entropy_15": copy | {"entropy": 0.15}}


def _chosen(settings: dict) -> dict:
    arms = {name: ARM | METHODS[name] | GRID[name][settings[name]] for name in METHODS}
    return arms | {name: arms["lambda_15"] | {"teacher": name} for name in DOSES}


def _claims() -> tuple[dict, ...]:
    """Each with the tasks that it is about."""

    def claim(
        kind: str, versus: str, text: str, *tasks: str, metric: str = "accuracy", arm: str = "lambda_15"
    ) -> dict:
        name = f"{arm}_over_{versus}" + ("" if metric == "accuracy" else f"_{metric}")
        return {"name": name, "text": text, "kind": kind, "metric": f"test/{metric}", "arm": arm, "versus": versus,
                "tasks": tasks}  # fmt: skip

    every, recall = ("few", "all", "omitted"), {"metric": "omitted_recall"}
    return (
        claim("premise", "ce", "distillation beats the labels alone", "few", "all", arm="lambda_0"),
        claim("headline", "lambda_0", "mcmi beats fine-tuning on the likelihood alone", *every),
        claim("secondary", "matched", "mcmi beats a teacher that is as soft by temperature", *every),
        claim("ablation", "entropy", "mcmi beats a teacher that is paid for entropy", *every),
        claim("secondary", "lambda_0", "mcmi raises the recall of the omitted class", "omitted", **recall),
        claim("ablation", "matched", "it raises it more than temperature does", "omitted", **recall),
        claim("ablation", "entropy", "it raises it more than entropy does", "omitted", **recall),
    )


def _tune(config: ConfigDict) -> None:
    """Every setting of the grid is an arm, on five seeds of its own, judged by validation alone."""
    config.minutes = 5.0
    config.seeds, config.first_seed = 5, 1000
    config.claims = ()
    config.test = False
    for task in config.tasks.values():
        task.arms = ConfigDict(
            {
                f"{name}_{n}": ARM | METHODS[name] | setting
                for name in GRID
                for n, setting in enumerate(GRID[name])
            }
        )


def _smoke(config: ConfigDict) -> None:
    """Seconds: few real images and a class left out at once, three arms, two seeds, a few steps."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 5, 10, 10
    config.batch_size = 8
    task = config.tasks.omitted
    task.images_per_class = 4
    task.data = ConfigDict({"source": "digits", "split_seed": 0, "train_examples": 200})
    task.teacher.update({"options": {"features": (8,)}, "steps": 10})
    task.finetune.steps = 10
    task.student.update({"options": {"features": (4,)}, "steps": 10})
    kept = ("lambda_0", "lambda_15", "matched")
    task.arms = ConfigDict({name: task.arms[name].to_dict() for name in kept})
    config.tasks = ConfigDict({"omitted": task.to_dict()})
    config.claims = tuple(c for c in config.claims if c["arm"] in kept and c["versus"] in kept)


def _paper(config: ConfigDict) -> None:
    """CIFAR-100, ResNet-56 to ResNet-20: 240 epochs of batches of 64, 20 of fine-tuning, 5 runs, 25 images per class.

    The images are the user's: `--config.tasks.few.data.path=cifar100.npz`, likewise for the other tasks (train_image,
    train_label, test_image, test_label). The authors' optimizer is SGD with momentum, here it is AdamW; and a teacher's
    answers are computed once, so images are not augmented. It needs an accelerator and was not run.
    """
    config.scale = "paper"
    epoch = 45_000 // 64
    config.minutes = 3000.0
    config.seeds, config.seeds_by = 5, "map"
    config.log_every, config.eval_every, config.checkpoint_every = epoch, 10 * epoch, 10 * epoch
    rates = {"learning_rate": 1e-3, "weight_decay": 0.05}
    for task in config.tasks.values():
        task.data = ConfigDict({"source": "npz", "path": "", "split_seed": 0, "val_fraction": 0.1})
        task.teacher = ConfigDict(
            {"net": "resnet", "options": {"blocks": (9, 9, 9)}, "steps": 240 * epoch} | rates
        )
        task.finetune = ConfigDict({"steps": 20 * epoch} | rates)
        task.student = ConfigDict({"net": "resnet", "options": {"blocks": (3, 3, 3)}, "steps": 240 * epoch})
        for arm in task.arms.values():
            arm.update(rates)
    config.tasks.few.images_per_class = 25
