"""Does a student on the digits gain from the moving average of its own past?"""

from configs._comparison import comparison, headline

BASE = {
    "experiment": "average_teacher",
    "paper": "none: an example",
    "scale": "toy (32-unit MLP, digits)",
    "minutes": 0.5,
    "log_every": 25, "eval_every": 50, "checkpoint_every": 100,
    "steps": 400, "batch_size": 64, "learning_rate": 3e-3,
}  # fmt: skip
ARMS = {"alone": {"weight": 0.0}, "averaged": {"weight": 1.0}}
CLAIMS = (headline("averaged", "alone", "the average helps", sesoi=0.01),)

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/accuracy", smoke={"steps": 50}, long=("steps",)
)
