"""Learning in sequence: what is remembered, what is protected, and what a sequence of tasks leaves.

A memory or an anchor of weights is a pytree that a method carries in its state; where a task ends, a turn changes it.
Losses on outputs are per example, penalties on weights one number. What belongs to one paper is a module of its own:
`proxy_contrast`, `prototype_relation`, `refresh`, `rehearsal`, `class_order`, `progressive`.
"""

from jaxlab.continual import class_order, progressive, prototype_relation, proxy_contrast, refresh, rehearsal
from jaxlab.continual._exemplars import herding_order, nearest_class_mean_logits
from jaxlab.continual._fisher import diag_fisher, mas_importance
from jaxlab.continual._gradient_projection import agem_project, gem_project
from jaxlab.continual._learners import projected_learner, si_end_task, si_learner
from jaxlab.continual._metrics import (
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting_max,
    forgetting_mean,
    forward_transfer,
    mean_forward_transfer,
    positive_backward_transfer,
)
from jaxlab.continual._output_penalties import der_loss, er_ace_loss, icarl_loss, lwf_loss
from jaxlab.continual._reservoir import (
    Reservoir,
    balanced_insert,
    reservoir_draw,
    reservoir_init,
    reservoir_insert,
)
from jaxlab.continual._weight_penalties import (
    WeightAnchor,
    anchor_init,
    ewc_anchor,
    quadratic_penalty,
    si_anchor,
    si_path,
)

__all__ = [
    "Reservoir",
    "WeightAnchor",
    "agem_project",
    "anchor_init",
    "average_accuracy",
    "average_incremental_accuracy",
    "backward_transfer",
    "balanced_insert",
    "class_order",
    "der_loss",
    "diag_fisher",
    "er_ace_loss",
    "ewc_anchor",
    "forgetting_max",
    "forgetting_mean",
    "forward_transfer",
    "gem_project",
    "herding_order",
    "icarl_loss",
    "lwf_loss",
    "mas_importance",
    "mean_forward_transfer",
    "nearest_class_mean_logits",
    "positive_backward_transfer",
    "progressive",
    "projected_learner",
    "prototype_relation",
    "proxy_contrast",
    "quadratic_penalty",
    "refresh",
    "rehearsal",
    "reservoir_draw",
    "reservoir_init",
    "reservoir_insert",
    "si_anchor",
    "si_end_task",
    "si_learner",
    "si_path",
]
