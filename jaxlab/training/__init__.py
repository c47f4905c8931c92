"""The engine: runs any learner over many seeds and devices, and decides claims. The only room that writes."""

from jaxlab.training.cache import enable_compilation_cache
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.experiment import Arm, Claim, Experiment, PerSeed, Plan, Turn
from jaxlab.training.loop import Diverged, Fit, Interrupted, fit
from jaxlab.training.mesh import make_mesh, per_device, state_shardings
from jaxlab.training.report import decide, t_interval
from jaxlab.training.run import run
from jaxlab.training.workdir import Workdir

__all__ = [
    "Arm",
    "Checkpoints",
    "Claim",
    "Diverged",
    "Experiment",
    "Fit",
    "Interrupted",
    "PerSeed",
    "Plan",
    "Turn",
    "Workdir",
    "decide",
    "enable_compilation_cache",
    "fit",
    "make_mesh",
    "per_device",
    "run",
    "state_shardings",
    "t_interval",
]
