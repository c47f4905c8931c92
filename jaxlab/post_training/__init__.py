"""Post-training: policy gradients for language models from groups of responses, and from a teacher.

A step is put together from four kinds of functions: an advantage, an importance ratio, a loss per token, and
`aggregate`. `rlvr_learner` makes the whole iteration of them: sample, verify, score, improve; `text_rlvr_learner` is
the same for verifiers in Python that read text. Both have slots for which problems are posed, how answers arise, how
they are judged, what is made of them and what is remembered. What belongs to one paper is a module of its own:

    from jaxlab.post_training import adcl_egsr, ampo, d3s, mixture_of_rewards, multi_domain, nft, sec, thinktuning
"""

from jaxlab.post_training import (
    adcl_egsr,
    ampo,
    d3s,
    kdrl,
    mixture_of_rewards,
    multi_domain,
    nft,
    sec,
    thinktuning,
)
from jaxlab.post_training._adaptive_entropy import EntropyCoefficient, adaptive_entropy
from jaxlab.post_training._aggregation import aggregate, top_entropy_mask
from jaxlab.post_training._doctor import Finding, diagnose
from jaxlab.post_training._group_advantages import (
    dr_grpo_advantage,
    gdpo_advantage,
    gpg_advantage,
    grpo_advantage,
    maxrl_advantage,
    opo_advantage,
    rloo_advantage,
)
from jaxlab.post_training._groups import GroupStatistics, group_statistics
from jaxlab.post_training._importance import (
    geometric_importance_ratio,
    sequence_importance_ratio,
    token_importance_ratio,
)
from jaxlab.post_training._kl_estimators import kl_estimate
from jaxlab.post_training._off_policy import (
    dppo_mask,
    masked_importance_weight,
    off_policy_sequence_mask,
    score_centering,
    truncated_importance_weight,
)
from jaxlab.post_training._pass_at_k import avg_at_n, pass_at_k, pass_at_k_advantage
from jaxlab.post_training._policy_step import PolicyState, Rollouts, completion_scores, roll_out
from jaxlab.post_training._return_advantages import (
    reinforce_pp_advantage,
    reinforce_pp_baseline_advantage,
    remax_advantage,
    returns_to_go,
    whiten,
)
from jaxlab.post_training._revisions import append, inject
from jaxlab.post_training._rewards import dynamic_sampling_weights, kl_in_reward, overlong_penalty
from jaxlab.post_training._rlvr import rlvr_learner
from jaxlab.post_training._soft_surrogates import sapo_loss, vespo_loss
from jaxlab.post_training._surrogates import (
    cispo_loss,
    clip_fraction,
    dual_clip_fraction,
    gmpo_loss,
    gpg_loss,
    ppo_clip_loss,
)
from jaxlab.post_training._teacher_kl import exact_reverse_kl, kd_reward, kd_rkl, mixture_log_probs
from jaxlab.post_training._text_learner import (
    TextProblems,
    completion_texts,
    text_problems,
    text_rlvr_learner,
)

__all__ = [
    "EntropyCoefficient",
    "Finding",
    "GroupStatistics",
    "PolicyState",
    "Rollouts",
    "TextProblems",
    "adaptive_entropy",
    "adcl_egsr",
    "aggregate",
    "ampo",
    "append",
    "avg_at_n",
    "cispo_loss",
    "clip_fraction",
    "completion_scores",
    "completion_texts",
    "d3s",
    "diagnose",
    "dppo_mask",
    "dr_grpo_advantage",
    "dual_clip_fraction",
    "dynamic_sampling_weights",
    "exact_reverse_kl",
    "gdpo_advantage",
    "geometric_importance_ratio",
    "gmpo_loss",
    "gpg_advantage",
    "gpg_loss",
    "group_statistics",
    "grpo_advantage",
    "inject",
    "kd_reward",
    "kd_rkl",
    "kdrl",
    "kl_estimate",
    "kl_in_reward",
    "masked_importance_weight",
    "maxrl_advantage",
    "mixture_log_probs",
    "mixture_of_rewards",
    "multi_domain",
    "nft",
    "off_policy_sequence_mask",
    "opo_advantage",
    "overlong_penalty",
    "pass_at_k",
    "pass_at_k_advantage",
    "ppo_clip_loss",
    "reinforce_pp_advantage",
    "reinforce_pp_baseline_advantage",
    "remax_advantage",
    "returns_to_go",
    "rloo_advantage",
    "rlvr_learner",
    "roll_out",
    "sapo_loss",
    "score_centering",
    "sec",
    "sequence_importance_ratio",
    "text_problems",
    "text_rlvr_learner",
    "thinktuning",
    "token_importance_ratio",
    "top_entropy_mask",
    "truncated_importance_weight",
    "vespo_loss",
    "whiten",
]
