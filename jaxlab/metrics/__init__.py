"""Numbers about results and representations.

About results, in numpy on the host: intervals, tests, power, scores of several tasks together. About features, in JAX,
so that an evaluation compiles: probes, and measures of how vectors are spread. About ratings and measurements, in JAX,
so that whole studies are simulated side by side: agreement, correlations of ranks, tests of means, resampling.
"""

from jaxlab.metrics._across_tasks import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)
from jaxlab.metrics._agreement import (
    ICC_KINDS,
    cohen_kappa,
    confusion_matrix,
    cronbach_alpha,
    fleiss_kappa,
    intraclass_correlation,
    krippendorff_alpha,
)
from jaxlab.metrics._classification import accuracy, expected_calibration_error, recall_at_k, top_k_accuracy
from jaxlab.metrics._detection import (
    DetectionScores,
    average_precision,
    match_detections,
    mean_average_precision,
)
from jaxlab.metrics._distribution_tests import chi_squared_test, kolmogorov_smirnov, wasserstein_distance
from jaxlab.metrics._localization import consensus_iou, localization_auc, localization_success
from jaxlab.metrics._mean_tests import (
    MeanTest,
    VarianceTest,
    anova,
    cohen_d,
    equivalence_p_value,
    mean_interval,
    mean_test,
    paired_t_test,
    t_test,
    variance_test,
)
from jaxlab.metrics._multiplicity import benjamini_hochberg, holm, holm_levels
from jaxlab.metrics._paired import (
    percentile_interval,
    percentile_p_value,
    standard_error,
    t_interval,
    t_p_value,
    variance_factor,
)
from jaxlab.metrics._power import detectable_difference, detectable_effect, seeds_needed, two_group_power
from jaxlab.metrics._probes import knn_probe, linear_probe, ridge_probe, standardize
from jaxlab.metrics._rank_correlation import (
    average_ranks,
    correlation_interval,
    correlation_p_value,
    kendall_tau,
    roc_auc,
    spearman,
)
from jaxlab.metrics._rank_tests import mann_whitney, signed_rank_test
from jaxlab.metrics._ranking import mrr, ndcg_at_k
from jaxlab.metrics._regression import ancova, linear_regression
from jaxlab.metrics._representations import alignment, effective_rank, uniformity
from jaxlab.metrics._resampling import bootstrap, permutation_p_value
from jaxlab.metrics._search import at_edges, runners_up
from jaxlab.metrics._segmentation import ClassOverlap, class_overlap, dice_score, mean_overlap

__all__ = [
    "ICC_KINDS",
    "ClassOverlap",
    "DetectionScores",
    "MeanTest",
    "VarianceTest",
    "accuracy",
    "alignment",
    "ancova",
    "anova",
    "at_edges",
    "average_precision",
    "average_ranks",
    "benjamini_hochberg",
    "bootstrap",
    "chi_squared_test",
    "class_overlap",
    "cohen_d",
    "cohen_kappa",
    "confusion_matrix",
    "consensus_iou",
    "correlation_interval",
    "correlation_p_value",
    "cronbach_alpha",
    "detectable_difference",
    "detectable_effect",
    "dice_score",
    "effective_rank",
    "equivalence_p_value",
    "expected_calibration_error",
    "fleiss_kappa",
    "holm",
    "holm_levels",
    "interquartile_mean",
    "intraclass_correlation",
    "kendall_tau",
    "knn_probe",
    "kolmogorov_smirnov",
    "krippendorff_alpha",
    "linear_probe",
    "linear_regression",
    "localization_auc",
    "localization_success",
    "mann_whitney",
    "match_detections",
    "mean_average_precision",
    "mean_interval",
    "mean_overlap",
    "mean_test",
    "mrr",
    "ndcg_at_k",
    "paired_t_test",
    "percentile_interval",
    "percentile_p_value",
    "performance_profile",
    "permutation_p_value",
    "probability_of_improvement",
    "recall_at_k",
    "ridge_probe",
    "roc_auc",
    "runners_up",
    "seeds_needed",
    "signed_rank_test",
    "spearman",
    "standard_error",
    "standardize",
    "stratified_bootstrap",
    "t_interval",
    "t_p_value",
    "t_test",
    "top_k_accuracy",
    "two_group_power",
    "uniformity",
    "variance_factor",
    "variance_test",
    "wasserstein_distance",
]
