"""Do teacher and student gain from talking? A reconstruction of Talking Models, whose text was not to be had.

Inspired by Talking Models: Distill Pre-trained Knowledge to Downstream Models via Interactive Communication, 2023,
arXiv 2310.03188: what is found here speaks of the reconstruction, from abstract and reviews. Assumed, because unknown:
that the interaction loss is the task's loss after the reply (it may be a distance between states); squared distances
for message and state consistency; two-layer codecs of each model's own; a frozen teacher; that the student's reply
takes the place of its lower layers' state; all weights; and the task, as the paper's movie recommendation is not here.

    python -m experiments.run --config=configs/distillation/talking_models.py           # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/talking_models.py:tune      # the search behind ARMS

The teacher names upright digits and is frozen. The student is given a few digits, turned by up to 40 degrees, and
tells odd from even. Arms: the labels alone (`ce`); the teacher's answers grouped into odd and even (`kd`); its hidden
state through a linear regressor (`hint`, FitNet), which only this arm has; `one_way`, where the teacher reports its
state as a message; `two_way` with one and two rounds, where it answers the student's. These three have the same
codecs, losses and parameters. `all_labels`, the labels of all training images, is the ceiling. The student is scored
alone.
"""

from configs._comparison import TWO_VALUES, ablation, comparison, grid, headline, premise, room, secondary

BASE = {
    "experiment": "distillation.talk",
    "paper": "Inspired by Talking Models (2023, arXiv 2310.03188): a reconstruction",
    "scale": "toy (small MLPs, digits)",
    "minutes": 2.0,
    "checkpoint_every": 1000,
    "steps": 1000,
    "batch_size": 32,
    "data": {"source": "digits", "split_seed": 0},
    "rotate": 40.0,  # largest angle of the student's images, in degrees
    "few": 80,  # how many training images the student has
    "teacher": {"width": 64, "steps": 800, "learning_rate": 3e-3, "weight_decay": 1e-2},
    "student": {"width": 24},
    "codec": {"message": 16, "hidden": 32},
}
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
ARMS = {
    "ce": {"learning_rate": 3e-3, "weight_decay": 1.0},
    "kd": {"weight": 0.3, "temperature": 1.0},
    "hint": {"learning_rate": 3e-3, "weight": 0.1},
    "one_way": {"weight": 1.0, "message_weight": 0.1, "state_weight": 0.1},
    "two_way_1": {"weight": 0.3, "message_weight": 0.1, "state_weight": 0.1},
    "two_way_2": {"weight": 0.3, "message_weight": 0.1, "state_weight": 0.1},
    "all_labels": {"learning_rate": 3e-3, "weight_decay": 1e-2},
}
LABELS = grid({"learning_rate": (1e-3, 3e-3), "weight_decay": (1e-2, 1.0)})
TALK = grid({"weight": (0.3, 1.0), ("message_weight", "state_weight"): ((0.1, 0.1), (1.0, 1.0))})
GRID = {
    "ce": LABELS,
    "kd": grid({"weight": (0.3, 1.0), "temperature": (1.0, 4.0)}),
    "hint": grid({"learning_rate": (1e-3, 3e-3), "weight": (0.1, 1.0)}),
    "one_way": TALK,
    "two_way_1": TALK,
    "two_way_2": TALK,
    "all_labels": LABELS,
}
EDGES = {"*": TWO_VALUES}
CLAIMS = (
    headline("two_way_1", "one_way", "two-way talk beats a one-way codec of equal size"),
    secondary("two_way_2", "two_way_1", "a second round helps"),
    secondary("two_way_1", "kd", "two-way talk beats KD"),
    secondary("two_way_1", "hint", "two-way talk beats a hint"),
    ablation("two_way_1", "ce", "two-way talk beats the labels alone"),
    premise("kd", "ce", "KD beats the labels alone"),
    room("all_labels", "two_way_1", "there is room left to the ceiling"),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("ce", "one_way", "two_way_1"), "log_every": 3, "eval_every": 6, "checkpoint_every": 6,
           "steps": 6, "teacher.steps": 6, "batch_size": 8},
    tune={"minutes": 5.0}, long=("steps",),
)  # fmt: skip
