"""Curricula: how hard examples are, how many of them are used when, and which tasks come next.

Difficulty is larger for what is harder. Scores, orders and draws carry no gradient. What belongs to one paper stands
in a module of its own:

    from jaxlab.curriculum import alp_gmm, client_shards, cycles, expert_window, federated, riac
"""

from jaxlab.curriculum import alp_gmm, client_shards, cycles, expert_window, federated, riac
from jaxlab.curriculum._bandit import (
    arm_log_probs,
    arm_rewards,
    greedy_arm_log_probs,
    proportional_arm_log_probs,
    update_arms,
)
from jaxlab.curriculum._difficulty import (
    ORDERS,
    confidence_difficulty,
    curriculum_order,
    loss_difficulty,
    transfer_difficulty,
)
from jaxlab.curriculum._mixture import (
    Mixture,
    akaike,
    component_log_probs,
    em_step,
    fit_mixture,
    mean_log_likelihood,
    select_mixture,
)
from jaxlab.curriculum._pacing import PACING_LAWS, paced_count
from jaxlab.curriculum._weighted_sampling import gumbel_top_k

__all__ = [
    "ORDERS",
    "PACING_LAWS",
    "Mixture",
    "akaike",
    "alp_gmm",
    "arm_log_probs",
    "arm_rewards",
    "client_shards",
    "component_log_probs",
    "confidence_difficulty",
    "curriculum_order",
    "cycles",
    "em_step",
    "expert_window",
    "federated",
    "fit_mixture",
    "greedy_arm_log_probs",
    "gumbel_top_k",
    "loss_difficulty",
    "mean_log_likelihood",
    "paced_count",
    "proportional_arm_log_probs",
    "riac",
    "select_mixture",
    "transfer_difficulty",
    "update_arms",
]
