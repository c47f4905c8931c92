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
from jaxlab.metrics._representations import alignment, effective_rank, uniformity
from jaxlab.metrics._search import at_edges, runners_up

__all__ = [
    "alignment",
    "at_edges",
    "benjamini_hochberg",
    "detectable_effect",
    "effective_rank",
    "holm",
    "holm_levels",
    "interquartile_mean",
    "knn_probe",
    "linear_probe",
    "percentile_interval",
    "percentile_p_value",
    "performance_profile",
    "probability_of_improvement",
    "ridge_probe",
    "runners_up",
    "seeds_needed",
    "standard_error",
    "standardize",
    "stratified_bootstrap",
    "t_interval",
    "t_p_value",
    "uniformity",
    "variance_factor",
]
