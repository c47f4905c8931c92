"""Numbers about results and representations.

About results, in numpy on the host: intervals, tests, power, scores of several tasks together. About features, in JAX,
so that an evaluation compiles: probes, and measures of how vectors are spread.
"""

from jaxlab.metrics._across_tasks import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)
from jaxlab.metrics._classification import accuracy, expected_calibration_error, recall_at_k, top_k_accuracy
from jaxlab.metrics._detection import (
    DetectionScores,
    average_precision,
    match_detections,
    mean_average_precision,
)
from jaxlab.metrics._localization import consensus_iou, localization_auc, localization_success
from jaxlab.metrics._multiplicity import benjamini_hochberg, holm, holm_levels
from jaxlab.metrics._paired import (
    percentile_interval,
    percentile_p_value,
    standard_error,
    t_interval,
    t_p_value,
    variance_factor,
)
from jaxlab.metrics._power import detectable_effect, seeds_needed
from jaxlab.metrics._probes import knn_probe, linear_probe, ridge_probe, standardize
from jaxlab.metrics._ranking import mrr, ndcg_at_k
from jaxlab.metrics._representations import alignment, effective_rank, uniformity
from jaxlab.metrics._search import at_edges, runners_up
from jaxlab.metrics._segmentation import ClassOverlap, class_overlap, dice_score, mean_overlap

__all__ = [
    "ClassOverlap",
    "DetectionScores",
    "accuracy",
    "alignment",
    "at_edges",
    "average_precision",
    "benjamini_hochberg",
    "class_overlap",
    "consensus_iou",
    "detectable_effect",
    "dice_score",
    "effective_rank",
    "expected_calibration_error",
    "holm",
    "holm_levels",
    "interquartile_mean",
    "knn_probe",
    "linear_probe",
    "localization_auc",
    "localization_success",
    "match_detections",
    "mean_average_precision",
    "mean_overlap",
    "mrr",
    "ndcg_at_k",
    "percentile_interval",
    "percentile_p_value",
    "performance_profile",
    "probability_of_improvement",
    "recall_at_k",
    "ridge_probe",
    "runners_up",
    "seeds_needed",
    "standard_error",
    "standardize",
    "stratified_bootstrap",
    "t_interval",
    "t_p_value",
    "top_k_accuracy",
    "uniformity",
    "variance_factor",
]
