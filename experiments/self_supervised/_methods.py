"""What an encoder learns from: one function per method, found by name in `METHODS`.

Each takes the task and an arm's settings and gives the learner, the evaluation and the export. Encoder and projector
start from the same parameters in all. There is no batch norm in the projector, where the papers have it: in this
library no net's output depends on its neighbours in the batch.
"""

from collections.abc import Callable
from typing import Any

from experiments.self_supervised import _heads, _label_losses, _teachers, _view_losses
from experiments.self_supervised._task import Method, Task

METHODS: dict[str, Callable[[Task, Any], Method]] = {
    **_view_losses.METHODS,
    **_heads.METHODS,
    **_teachers.METHODS,
    **_label_losses.METHODS,
}
UNTRAINED = ("untrained",)  # methods that take no step
