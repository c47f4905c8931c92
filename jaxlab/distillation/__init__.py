"""Distillation: losses by which a student learns from a trained teacher."""

from jaxlab.distillation._contrastive import CrdState, crd_init, crd_loss, crd_negatives
from jaxlab.distillation._correlation import dist_loss, inter_class_loss, intra_class_loss
from jaxlab.distillation._decoupled import dkd_loss, non_target_class_kl, target_class_kl
from jaxlab.distillation._hint import hint_loss
from jaxlab.distillation._plackett_luce import (
    listmle_loss,
    plackett_luce_nll,
    pld_first_weight,
    pld_loss,
    teacher_optimal_ranking,
)
from jaxlab.distillation._soft_targets import kd_loss

__all__ = [
    "CrdState",
    "crd_init",
    "crd_loss",
    "crd_negatives",
    "dist_loss",
    "dkd_loss",
    "hint_loss",
    "inter_class_loss",
    "intra_class_loss",
    "kd_loss",
    "listmle_loss",
    "non_target_class_kl",
    "plackett_luce_nll",
    "pld_first_weight",
    "pld_loss",
    "target_class_kl",
    "teacher_optimal_ranking",
]
