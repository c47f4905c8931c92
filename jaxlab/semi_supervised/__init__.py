"""Few labels: teachers by averaging, pseudo-labels, thresholds, consensus, prototypes."""

from jaxlab.semi_supervised import (
    dual_mean_teacher,
    ev_wsss,
    hssda,
    prototype_memory,
    rail,
    score_thresholds,
    sefar,
    sounding_maps,
    temporal_levels,
)
from jaxlab.semi_supervised._boxes import (
    axis_aligned_iou,
    bev_iou,
    points_in_boxes,
    transform_boxes,
    transform_points,
)
from jaxlab.semi_supervised._consistency import consistency_kl, consistency_mse, unlabelled_fraction
from jaxlab.semi_supervised._dice_loss import dice_loss
from jaxlab.semi_supervised._mean_teacher import TeacherMemory, mean_teacher_learner
from jaxlab.semi_supervised._pseudo_labels import (
    PseudoLabelQuality,
    PseudoLabels,
    class_filtered_probs,
    masked_cross_entropy,
    pseudo_label,
    pseudo_label_quality,
    sharpen,
)
from jaxlab.semi_supervised._rate_schedule import warm_up_constant_cosine
from jaxlab.semi_supervised._thresholds import (
    AdaptiveThresholds,
    CurriculumThresholds,
    adaptive_init,
    adaptive_thresholds,
    adaptive_update,
    curriculum_init,
    curriculum_thresholds,
    curriculum_update,
)

__all__ = [
    "AdaptiveThresholds",
    "CurriculumThresholds",
    "PseudoLabelQuality",
    "PseudoLabels",
    "TeacherMemory",
    "adaptive_init",
    "adaptive_thresholds",
    "adaptive_update",
    "axis_aligned_iou",
    "bev_iou",
    "class_filtered_probs",
    "consistency_kl",
    "consistency_mse",
    "curriculum_init",
    "curriculum_thresholds",
    "curriculum_update",
    "dice_loss",
    "dual_mean_teacher",
    "ev_wsss",
    "hssda",
    "masked_cross_entropy",
    "mean_teacher_learner",
    "points_in_boxes",
    "prototype_memory",
    "pseudo_label",
    "pseudo_label_quality",
    "rail",
    "score_thresholds",
    "sefar",
    "sharpen",
    "sounding_maps",
    "temporal_levels",
    "transform_boxes",
    "transform_points",
    "unlabelled_fraction",
    "warm_up_constant_cosine",
]
