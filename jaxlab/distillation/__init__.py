"""Distillation: losses by which a student learns from a trained teacher."""

from jaxlab.distillation import (
    dcd,
    loss_landscape,
    mcmi,
    noise_mask,
    random_teacher,
    talking_models,
    teacher_hacking,
    tgeo_kd,
)
from jaxlab.distillation._contrastive import CrdState, crd_init, crd_loss, crd_negatives
from jaxlab.distillation._correlation import dist_loss, inter_class_loss, intra_class_loss
from jaxlab.distillation._decoupled import dkd_loss, non_target_class_kl, target_class_kl
from jaxlab.distillation._dual_head import binary_kl, binary_kl_norm, dual_head_apply
from jaxlab.distillation._hint import hint_loss
from jaxlab.distillation._norm_direction import direction_loss, nd_loss, norm_loss
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
    "binary_kl",
    "binary_kl_norm",
    "crd_init",
    "crd_loss",
    "crd_negatives",
    "dcd",
    "direction_loss",
    "dist_loss",
    "dkd_loss",
    "dual_head_apply",
    "hint_loss",
    "inter_class_loss",
    "intra_class_loss",
    "kd_loss",
    "listmle_loss",
    "loss_landscape",
    "mcmi",
    "nd_loss",
    "noise_mask",
    "non_target_class_kl",
    "norm_loss",
    "plackett_luce_nll",
    "pld_first_weight",
    "pld_loss",
    "random_teacher",
    "talking_models",
    "target_class_kl",
    "teacher_hacking",
    "teacher_optimal_ranking",
    "tgeo_kd",
]
