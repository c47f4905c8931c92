"""The engine: runs any learner over many seeds and devices, and decides claims. The only room that writes."""

from jaxlab.training._ahead import trial
from jaxlab.training.cache import enable_compilation_cache
from jaxlab.training.checkpoint import Checkpoints
from jaxlab.training.claims import Claim, check_claims
from jaxlab.training.experiment import Arm, Experiment, PerSeed, Plan, Streamed, Turn
from jaxlab.training.loop import Diverged, Fit, Interrupted, fit
from jaxlab.training.mesh import make_mesh, per_device, state_shardings
from jaxlab.training.run import run
from jaxlab.training.verdicts import decide, qualified
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
    "Streamed",
    "Turn",
    "Workdir",
    "check_claims",
    "decide",
    "enable_compilation_cache",
    "fit",
    "make_mesh",
    "per_device",
    "qualified",
    "run",
    "state_shardings",
    "trial",
]
