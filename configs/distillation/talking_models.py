"""Do teacher and student gain from talking? A reconstruction of Talking Models, whose text was not to be had.

Inspired by Talking Models: Distill Pre-trained Knowledge to Downstream Models via Interactive Communication, 2023,
arXiv 2310.03188: what is found here speaks of the reconstruction, from abstract and reviews. Assumed, because unknown:
that the interaction loss is the task's loss after the reply (it may be a distance between states); squared distances
for message and state consistency; two-layer codecs of each model's own; a frozen teacher; that the student's reply
takes the place of its lower layers' state; all weights; and the task, as the paper's movie recommendation is not here.

    python -m experiments.run --config=configs/distillation/talking_models.py           # about 2 minutes on 2 CPU cores
    python -m experiments.run --config=configs/distillation/talking_models.py:tune      # the search behind ARMS

The teacher names digits, turned by up to 40 degrees, has seen all training images and is frozen. The student is given a
few of them and tells odd from even. Every seed has its own split. Arms: the labels alone (`ce`); the teacher's answers
grouped into odd and even (`kd`); its hidden state through a linear regressor (`hint`, FitNet), which only this arm has;
`one_way`, where the teacher reports its state as a message; `two_way` with one and two rounds, where it answers the
student's. These three have the same codecs, losses and parameters. `all_labels`, the labels of all training images, is
the ceiling. The student is scored alone.
"""

from configs._comparison import comparison, grid, headline, room, secondary
from configs.distillation._tasks import TUNING

BASE = {
    "experiment": "distillation.talk",
    "paper": "Inspired by Talking Models (2023, arXiv 2310.03188): a reconstruction",
    "scale": "toy (small MLPs, digits)",
    "minutes": 2.0,
    "seeds": 16, "first_seed": 200,
    "log_every": 200, "eval_every": 400, "checkpoint_every": 2000,
    "steps": 2000,
    "batch_size": 32,
    "data": {"source": "digits", "part": "rest", "train": 900, "val": 220, "test": 226},
    "rotate": 40.0,  # largest angle of an image, in degrees
    "few": 40,  # how many training images the student has
    "teacher": {"width": 128, "steps": 2000, "learning_rate": 3e-3, "weight_decay": 1e-2},
    "student": {"width": 24},
    "codec": {"message": 16, "hidden": 32},
}  # fmt: skip
ARM = {
    "method": "ce",
    "labels": "few",
    "rounds": 1,
    "weight": 1.0,  # of KD, of the hint, of the task after the replies
    "temperature": 2.0,
    "message_weight": 1.0,
    "state_weight": 1.0,
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
    "ce": {"learning_rate": 3e-2, "weight_decay": 1e-2},
    "kd": {"learning_rate": 1e-2, "weight": 1.0, "temperature": 4.0},
    "hint": {"learning_rate": 3e-2, "weight": 0.3},
    "one_way": {"learning_rate": 1e-2, "weight": 0.1},
    "two_way_1": {"learning_rate": 1e-2, "weight": 0.3},
    "two_way_2": {"learning_rate": 3e-3, "weight": 0.1},
    "all_labels": {"learning_rate": 1e-2, "weight_decay": 1.0},
}
RATES = {"learning_rate": (1e-3, 3e-3, 1e-2, 3e-2)}
LABELS = grid(RATES | {"weight_decay": (1e-2, 0.1, 1.0, 3.0)})
TALK = grid(RATES | {"weight": (0.1, 0.3, 1.0, 3.0)})
GRID = {
    "ce": LABELS,
    "kd": grid(RATES | {("weight", "temperature"): ((1.0, 4.0), (3.0, 4.0), (10.0, 4.0), (3.0, 8.0))}),
    "hint": grid(RATES | {"weight": (0.1, 0.3, 1.0, 3.0)}),
    "one_way": TALK,
    "two_way_1": TALK,
    "two_way_2": TALK,
    "all_labels": LABELS,
}
EDGES = {
    "ce": "three of its settings are within 0.011, none of them stands out",
    "kd": "weight 1 at temperature 4 and 3 at 8 are the same number",
    "hint": "seven settings are within one standard error",
    "weight": "the less there is of the talk the better, for one way and for two rounds",
}
GATES = {"needs": ("knows", "room", "converged")}
CLAIMS = (
    headline("two_way_1", "one_way", "two-way talk beats a one-way codec of equal size", **GATES),
    secondary("two_way_2", "two_way_1", "a second round helps", **GATES),
    secondary("two_way_1", "kd", "two-way talk beats KD", **GATES),
    secondary("two_way_1", "hint", "two-way talk beats a hint", **GATES),
    {"kind": "premise", "name": "knows", "text": "the teacher tells odd from even better than the labels alone do",
     "sesoi": 0.02, "terms": (("teacher", "test/parity", 1.0), ("ce", "test/accuracy", -1.0))},
    room("all_labels", "one_way", "there is room left to the ceiling", name="room", sesoi=0.02),
    {"kind": "premise", "name": "converged", "text": "the last fifth changes little", "relation": "equivalent",
     "sesoi": 0.01, "terms": (("two_way_1", "val/late_change", 1.0),)},
)  # fmt: skip

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", arm=ARM, methods=METHODS,
    smoke={"arms": ("ce", "one_way", "two_way_1"), "log_every": 3, "eval_every": 6, "checkpoint_every": 6,
           "steps": 6, "teacher.steps": 6, "batch_size": 8},
    tune={"minutes": 5.0, "data": TUNING}, long=("steps",),
)  # fmt: skip
