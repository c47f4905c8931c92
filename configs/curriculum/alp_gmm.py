"""ALP-GMM: a teacher that samples tasks where the student's reward has changed most.

Teacher algorithms for curriculum learning of Deep RL in continuously parameterized environments, 2019, arXiv 1910.07224
(CoRL 2019).

    python -m experiments.run --config=configs/curriculum/alp_gmm.py        # about 5 minutes on 2 CPU cores

`cubes` is the authors' toy world: a grid of 10 x 10 tasks, of which each is learned by a hundred episodes and opens its
neighbours. Nothing in it can never be learned. `waves` has a student that learns by gradients, a net that fits waves of
growing frequency, and a half of the tasks, with labels of noise, that teaches nothing; only what can be learned is
asked for. `alp_gmm` fits a Gaussian mixture to tasks and absolute learning progress every 250 episodes, `covar_gmm`
takes the covariance of time and reward for progress, `riac` cuts the box into regions, `random` draws from all of it.
All have the authors' settings; there is nothing to tune that the claims speak of.
Other than in the paper: no deep reinforcement learning, and so no ranking of these teachers there.
"""

from configs._comparison import ablation, comparison, headline, premise, room, secondary

BASE = {
    "experiment": "curriculum.teach_tasks",
    "paper": "ALP-GMM: Teacher algorithms for curriculum learning of Deep RL (2019, arXiv 1910.07224)",
    "scale": "toy (a grid of competences; a 64-64-unit MLP)", "minutes": 5.0,
    "log_every": 250, "eval_every": 1000, "checkpoint_every": 5000,
    "tasks": {
        "cubes": {"student": "cubes", "episodes": 20_000, "box": 2, "side": 10, "dims": 2},
        "waves": {"student": "waves", "episodes": 10_000, "box": 2, "features": (64, 64), "learning_rate": 1e-3,
                  "batch_size": 32, "range": 7.0, "asked": 50},
    },
}  # fmt: skip
ARM = {"random_share": 0.2, "every": 250, "region_size": 200}
METHODS = {name: {"method": name} for name in ("random", "alp_gmm", "covar_gmm", "riac")}
ARMS = {name: {} for name in METHODS}
GATES = {"needs": ("room", "converged"), "sesoi": 0.02}
CLAIMS = (
    headline("alp_gmm", "random", "ALP-GMM masters more tasks than random ones", **GATES),
    secondary(
        "alp_gmm",
        "random",
        "it masters them sooner",
        metric="val/area",
        name="sooner",
        sesoi=0.02,
        needs=("room",),
    ),
    secondary("alp_gmm", "riac", "ALP-GMM masters more than RIAC", **GATES),
    ablation("alp_gmm", "covar_gmm", "absolute progress masters more than a covariance", **GATES),
    premise(
        "alp_gmm",
        0,
        "the last fifth changes little",
        name="converged",
        metric="val/late_change",
        relation="equivalent",
        sesoi=0.02,
    ),
    room(1.0, "random", "random tasks leave something to master", name="room", sesoi=0.04),
)

get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/mastered", arm=ARM, methods=METHODS,
    smoke={"log_every": 10, "eval_every": 20, "checkpoint_every": 20, "tasks.*.episodes": 20, "arms.*.every": 10,
           "tasks.waves.features": (8,), "arms.*.region_size": 8, "tasks.cubes.side": 2},
    long=("tasks.cubes.episodes", "tasks.waves.episodes"),
)  # fmt: skip
