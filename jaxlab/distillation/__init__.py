"""Distillation: losses by which a student learns from a trained teacher."""

from jaxlab.distillation._bilevel import BilevelState, bilevel_learner, unrolled_loss
from jaxlab.distillation._conditional_information import (
    class_centroids,
    cmi_terms,
    ema_centroids,
    matching_temperature,
    mcmi_loss,
)
from jaxlab.distillation._contrastive import CrdState, crd_init, crd_loss, crd_negatives
from jaxlab.distillation._contrastive_retrieval import dcd_loss, entropy_weights, scores_of, select_hard
from jaxlab.distillation._correlation import dist_loss, inter_class_loss, intra_class_loss
from jaxlab.distillation._decoupled import dkd_loss, non_target_class_kl, target_class_kl
from jaxlab.distillation._dual_head import align_gradients, binary_kl, binary_kl_norm, dual_head_apply
from jaxlab.distillation._hint import hint_loss
from jaxlab.distillation._interaction import (
    Exchange,
    codec_init,
    decode_message,
    encode_message,
    interaction_round,
    message_consistency,
    state_consistency,
    talking_loss,
)
from jaxlab.distillation._loss_landscape import line_losses, plane_losses
from jaxlab.distillation._noise_mask import (
    beta_log_prob,
    mix_base,
    reinforce_mask_loss,
    released_mask_loss,
    render_mask,
    sample_mask,
    update_base,
)
from jaxlab.distillation._norm_direction import direction_loss, nd_loss, norm_loss
from jaxlab.distillation._plackett_luce import (
    listmle_loss,
    plackett_luce_nll,
    pld_first_weight,
    pld_loss,
    teacher_optimal_ranking,
)
from jaxlab.distillation._random_teacher import local_init, soft_cross_entropy
from jaxlab.distillation._soft_targets import kd_loss
from jaxlab.distillation._teacher_hacking import (
    PowerLaw,
    hacking_score,
    power_law_fit,
    sequence_kl,
    token_forward_kl,
)
from jaxlab.distillation._trilateral import (
    class_mean_teacher,
    fused_kd_loss,
    fusion_controller_init,
    fusion_ratio,
    trilateral_state,
)

__all__ = [
    "BilevelState",
    "CrdState",
    "Exchange",
    "PowerLaw",
    "align_gradients",
    "beta_log_prob",
    "bilevel_learner",
    "binary_kl",
    "binary_kl_norm",
    "class_centroids",
    "class_mean_teacher",
    "cmi_terms",
    "codec_init",
    "crd_init",
    "crd_loss",
    "crd_negatives",
    "dcd_loss",
    "decode_message",
    "direction_loss",
    "dist_loss",
    "dkd_loss",
    "dual_head_apply",
    "ema_centroids",
    "encode_message",
    "entropy_weights",
    "fused_kd_loss",
    "fusion_controller_init",
    "fusion_ratio",
    "hacking_score",
    "hint_loss",
    "inter_class_loss",
    "interaction_round",
    "intra_class_loss",
    "kd_loss",
    "line_losses",
    "listmle_loss",
    "local_init",
    "matching_temperature",
    "mcmi_loss",
    "message_consistency",
    "mix_base",
    "nd_loss",
    "non_target_class_kl",
    "norm_loss",
    "plackett_luce_nll",
    "plane_losses",
    "pld_first_weight",
    "pld_loss",
    "power_law_fit",
    "reinforce_mask_loss",
    "released_mask_loss",
    "render_mask",
    "sample_mask",
    "scores_of",
    "select_hard",
    "sequence_kl",
    "soft_cross_entropy",
    "state_consistency",
    "talking_loss",
    "target_class_kl",
    "teacher_optimal_ranking",
    "token_forward_kl",
    "trilateral_state",
    "unrolled_loss",
    "update_base",
]
