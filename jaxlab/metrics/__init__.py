"""Numbers about results, on the host: intervals, tests, power, and scores of several tasks together."""

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
from jaxlab.metrics._search import at_edges, runners_up

__all__ = [
    "at_edges",
    "benjamini_hochberg",
    "detectable_effect",
    "holm",
    "holm_levels",
    "interquartile_mean",
    "percentile_interval",
    "percentile_p_value",
    "performance_profile",
    "probability_of_improvement",
    "runners_up",
    "seeds_needed",
    "standard_error",
    "stratified_bootstrap",
    "t_interval",
    "t_p_value",
    "variance_factor",
]
