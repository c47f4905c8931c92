"""Every stored number of verl, TRL and AMPO is reached: values, and gradients with respect to the log-probabilities.

Advantages per response are compared at each token, as verl stores them. Each table is compiled as one function.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p
from jaxlab.core import masked_mean, masked_var
from jaxlab.post_training import kdrl

DATA = pathlib.Path(__file__).parents[1] / "golden"
GRPO = dict(np.load(DATA / "grpo_family.npz"))
KDRL = dict(np.load(DATA / "kdrl.npz"))
G = {name: jnp.asarray(x) for name, x in GRPO.items() if name.startswith("in_")}
MASK, MASK_HARD, REWARDS, GROUP = (G["in_" + name] for name in ("mask", "mask_hard", "seq_rewards", "group"))
RAGGED, ALONE = G["in_group_ragged"], jnp.arange(12)
T = MASK.shape[-1]
ADVANTAGE = jnp.asarray(GRPO["out_adv_grpo"])  # the one that the losses were run with
MODES = {  # verl's names
    "token-mean": {"mode": "token-mean"},
    "seq-mean-token-sum": {"mode": "seq-mean-token-sum"},
    "seq-mean-token-mean": {"mode": "seq-mean-token-mean"},
    "seq-mean-token-sum-norm": {"mode": "constant", "normalizer": T},
}
BY_TOKEN, BY_RESPONSE = MODES["token-mean"], MODES["seq-mean-token-mean"]
kept_rewards = {"singleton": "reward"}

ADVANTAGES = {
    "grpo": lambda: p.grpo_advantage(REWARDS, GROUP),
    "grpo_vectorized": lambda: p.grpo_advantage(REWARDS, GROUP),
    "grpo_singletons": lambda: p.grpo_advantage(REWARDS, ALONE, **kept_rewards),
    "grpo_ragged": lambda: p.grpo_advantage(REWARDS, RAGGED, **kept_rewards),
    "drgrpo": lambda: p.dr_grpo_advantage(REWARDS, GROUP),
    "rloo": lambda: p.rloo_advantage(REWARDS, GROUP),
    "rloo_vectorized": lambda: p.rloo_advantage(REWARDS, GROUP),
    "rloo_singletons": lambda: p.rloo_advantage(REWARDS, ALONE, **kept_rewards),
    "rloo_vectorized_singletons": lambda: p.rloo_advantage(REWARDS, ALONE),
    "rloo_ragged": lambda: p.rloo_advantage(REWARDS, RAGGED, **kept_rewards),
    "reinforcepp_gamma1.0": lambda: p.reinforce_pp_advantage(G["in_token_rewards"], MASK),
    "reinforcepp_gamma0.9": lambda: p.reinforce_pp_advantage(G["in_token_rewards"], MASK, gamma=0.9),
    "reinforcepp_baseline": lambda: p.reinforce_pp_baseline_advantage(REWARDS, GROUP, MASK),
    "grpo_passk": lambda: p.pass_at_k_advantage(REWARDS, GROUP),
    "grpo_passk_nostd": lambda: p.pass_at_k_advantage(REWARDS, GROUP, scale=None),
    "remax": lambda: p.remax_advantage(G["in_token_rewards"], G["in_remax_baseline"], MASK),
    "opo": lambda: p.opo_advantage(REWARDS, MASK.sum(-1), GROUP),
    "gpg": lambda: p.gpg_advantage(REWARDS, GROUP, correction="nonzero_reward"),
}
RATIO = p.token_importance_ratio(G["in_logp"], G["in_old_logp"])
DAPO = {"clip_high": 0.28, "dual_clip": 10.0}
PPO = {"dual_clip": 3.0}


def fractions(clip_high, dual_clip):
    """verl's metrics, under the hard mask: share clipped, mean of -log rho, share bounded by the dual clip."""
    share = p.clip_fraction(RATIO, ADVANTAGE, where=MASK_HARD, clip_high=clip_high)
    bounded = p.dual_clip_fraction(
        RATIO, ADVANTAGE, where=MASK_HARD, clip_high=clip_high, dual_clip=dual_clip
    )
    return jnp.stack([share, masked_mean(-jnp.log(RATIO), where=MASK_HARD), bounded])


def kl(kind, **options):
    return lambda: p.kl_estimate(G["in_logp"], G["in_ref_logp"], kind=kind, **options)


VALUES = {
    **{f"out_adv_{name}": call for name, call in ADVANTAGES.items()},
    "out_ret_reinforcepp_gamma1.0": lambda: p.returns_to_go(G["in_token_rewards"], MASK),
    "out_ret_reinforcepp_gamma0.9": lambda: p.returns_to_go(G["in_token_rewards"], MASK, gamma=0.9),
    "out_ppo_metrics": lambda: fractions(0.2, 3.0),
    "out_dapo_metrics": lambda: fractions(0.28, 10.0),
    **{f"out_agg_{name}": functools.partial(p.aggregate, G["in_loss_mat"], MASK, **mode)
       for name, mode in MODES.items()},
    **{f"out_agg_{name}_hard": functools.partial(p.aggregate, G["in_loss_mat"], MASK_HARD, **mode)
       for name, mode in MODES.items()},
    "out_agg_seq-mean-token-sum-norm_scale100": lambda: p.aggregate(
        G["in_loss_mat"], MASK, mode="constant", normalizer=100),
    "out_agg_token-mean_nanpad": lambda: p.aggregate(jnp.where(MASK == 1, G["in_loss_mat"], jnp.nan), MASK),
    "out_kl_k1": kl("k1"), "out_kl_abs": kl("abs"), "out_kl_k2": kl("k2"),
    "out_kl_k3": kl("k3", value_clip=10.0),
    "out_kl_in_reward_beta0.05": lambda: p.kl_in_reward(
        G["in_token_rewards"], G["in_old_logp"], G["in_ref_logp"], beta=0.05),
    "out_masked_whiten": lambda: p.whiten(G["in_loss_mat"], MASK),
    "out_masked_mean": lambda: masked_mean(G["in_loss_mat"], where=MASK),
    "out_masked_var": lambda: masked_var(G["in_loss_mat"], where=MASK, ddof=1),
    "out_overlong_max100_buf20_pen1": lambda: p.overlong_penalty(G["in_overlong_len"], max_length=100, buffer=20),
    "out_passk": lambda: jnp.stack(
        [p.pass_at_k(G["in_passk_n"], G["in_passk_c"], int(k)) for k in GRPO["in_passk_k"]], axis=-1),
}  # fmt: skip


def ppo(log_probs, mask=MASK, advantage=ADVANTAGE, reduction=BY_TOKEN, keep=1.0, **options):
    ratio = p.token_importance_ratio(log_probs, G["in_old_logp"], where=mask)
    return p.aggregate(keep * p.ppo_clip_loss(ratio, advantage, where=mask, **options), mask, **reduction)


def gspo(log_probs, mask=MASK, advantage=ADVANTAGE, reduction=BY_RESPONSE, **options):
    ratio = p.sequence_importance_ratio(log_probs, G["in_old_logp"], where=mask)
    return p.aggregate(p.ppo_clip_loss(ratio, advantage, where=mask, **options), mask, **reduction)


def cispo(log_probs, advantage=ADVANTAGE, **options):
    ratio = p.token_importance_ratio(log_probs, G["in_old_logp"], where=MASK)
    return p.aggregate(p.cispo_loss(log_probs, ratio, advantage, where=MASK, **options), MASK)


def gmpo(log_probs):
    return p.gmpo_loss(log_probs, G["in_old_logp"], ADVANTAGE[:, 0], where=MASK).mean()


def total_kl(kind, **options):
    return lambda log_probs: jnp.sum(MASK * p.kl_estimate(log_probs, G["in_ref_logp"], kind=kind, **options))


def trl(loss, **options):
    """TRL was run with advantages per response and a clip range of (0.2, 0.28)."""
    return functools.partial(loss, advantage=G["in_trl_adv"], **options)


def trl_with_kl(log_probs):
    penalty = p.kl_estimate(log_probs, G["in_trl_ref_logp"], kind="k3", where=MASK)
    return TRL["grpo_token"](log_probs) + 0.04 * p.aggregate(penalty, MASK, **TRL_MEAN)


TRL_MEAN = {"mode": "seq-mean-token-mean", "count_empty": True}
TRL_CLIP = {"clip_low": 0.2, "clip_high": 0.28}
TRL = {
    "grpo_token": trl(ppo, reduction=TRL_MEAN, **TRL_CLIP),
    "bnpo_token": trl(ppo, **TRL_CLIP),
    "dapo_token": trl(ppo, **TRL_CLIP),
    "dr_grpo_token": trl(ppo, reduction={"mode": "constant"}, **TRL_CLIP),
    "grpo_sequence": trl(gspo, reduction=TRL_MEAN, **TRL_CLIP),
    "grpo_token_beta0.04": trl_with_kl,
    "cispo_epshigh5": trl(cispo, clip_high=4.0),
    "dapo_delta2": trl(ppo, ratio_cap=2.0, **TRL_CLIP),
    "dapo_topentropy0.2": lambda log_probs: trl(
        ppo, keep=p.top_entropy_mask(G["in_entropy"], MASK, fraction=0.2), **TRL_CLIP)(log_probs),
}  # fmt: skip
LOSSES = {
    **{f"ppo_{name}": functools.partial(ppo, reduction=mode, **PPO) for name, mode in MODES.items()},
    **{f"dapo_{name}": functools.partial(ppo, reduction=mode, **DAPO) for name, mode in MODES.items()},
    **{f"ppo_{name}_hard": functools.partial(ppo, mask=MASK_HARD, reduction=mode, **PPO)
       for name, mode in MODES.items()},
    **{f"dapo_{name}_hard": functools.partial(ppo, mask=MASK_HARD, reduction=mode, **DAPO)
       for name, mode in MODES.items()},
    "gspo_paper": functools.partial(gspo, clip_low=3e-4, clip_high=4e-4),
    "gspo_paper_hard": functools.partial(gspo, mask=MASK_HARD, clip_low=3e-4, clip_high=4e-4),
    "gspo_wide": functools.partial(gspo, clip_high=0.28),
    "gspo_wide_hard": functools.partial(gspo, mask=MASK_HARD, clip_high=0.28),
    "gmpo": gmpo,
    "cispo_token-mean": functools.partial(cispo, clip_low=0.2, clip_high=0.28),
    "gpg_token-mean": lambda log_probs: p.aggregate(
        p.gpg_loss(log_probs, GRPO["out_adv_grpo"], where=MASK), MASK),
    **{f"trl_{name}": loss for name, loss in TRL.items()},
}  # fmt: skip
KL_GRADIENTS = {
    "kl_k1": total_kl("k1"),
    "kl_abs": total_kl("abs"),
    "kl_k2": total_kl("k2"),
    "kl_k3": total_kl("k3", value_clip=10.0),
}


def kdrl_student(logits):
    return jnp.take_along_axis(jax.nn.log_softmax(logits), KDRL["in_actions"][..., None], -1)[..., 0]


TEACHER_LOGP = kdrl_student(jnp.asarray(KDRL["in_teacher_logits"]))
VALUE_CLIP = {"k1": None, "k2": None, "k3": 10.0}


def kdrl_case(kind, mode):
    """Value, gradient, and the distillation terms under both denominators."""
    logits, mask = jnp.asarray(KDRL["in_student_logits"]), KDRL["in_mask"]
    rewards, group = KDRL["in_token_rewards"].sum(-1), KDRL["in_group"]
    keep = kdrl.kd_keep_mask(KDRL["in_correct"], group, mode=mode)

    def loss(logits, beta, advantage, denominator="all"):
        log_probs = kdrl_student(logits)
        old_log_probs = jax.lax.stop_gradient(log_probs)
        options = {"keep": keep, "beta": beta, "kind": kind, "value_clip": VALUE_CLIP[kind]}
        return kdrl.kdrl_loss(
            log_probs, old_log_probs, TEACHER_LOGP, advantage, mask, denominator=denominator, **options
        )

    total, gradient = jax.value_and_grad(loss)(logits, 5e-3, p.grpo_advantage(rewards, group))
    kd, kept = (loss(logits, 1.0, jnp.zeros(8), denominator) for denominator in ("all", "kept"))
    name = f"{kind}_{mode}"
    return {
        f"out_total_{name}": total,
        f"grad_total_{name}": gradient,
        f"out_kd_{name}": kd,
        f"out_kd_keptmean_{name}": kept,
    }


def kdrl_all():
    rewards, group = KDRL["in_token_rewards"].sum(-1), KDRL["in_group"]
    log_probs = kdrl_student(jnp.asarray(KDRL["in_student_logits"]))
    advantage = p.grpo_advantage(rewards, group)
    out = {"out_adv": advantage[:, None] * KDRL["in_mask"]}
    out["out_pg"] = kdrl.kdrl_loss(log_probs, log_probs, TEACHER_LOGP, advantage, KDRL["in_mask"], beta=0.0)
    for kind, clip in VALUE_CLIP.items():
        out[f"out_pertoken_{kind}"] = p.kd_rkl(log_probs, TEACHER_LOGP, kind=kind, value_clip=clip)
        for mode in ("none", "response", "group"):
            out |= kdrl_case(kind, mode)
    return out


@functools.cache
def reached():
    """All values and gradients of both tables, in three compiled functions."""

    def at_tokens(name, x):
        return x[:, None] * MASK if name.startswith("out_adv") and x.ndim == 1 else x

    def losses(log_probs, trl_log_probs):
        out = {}
        for name, loss in {**LOSSES, **KL_GRADIENTS}.items():
            value, gradient = jax.value_and_grad(loss)(
                trl_log_probs if name.startswith("trl_") else log_probs
            )
            out |= {f"out_{name}": value, f"grad_{name}": gradient}
        return {name: x for name, x in out.items() if not name.startswith("out_kl")}

    values = jax.jit(lambda: {name: at_tokens(name, call()) for name, call in VALUES.items()})()
    grpo = values | jax.jit(losses)(G["in_logp"], G["in_trl_logp"])
    return {"grpo": grpo, "kdrl": jax.jit(kdrl_all)()}


def expected(table):
    stored = {"grpo": GRPO, "kdrl": KDRL}[table]
    return {name: x for name, x in stored.items() if name.startswith(("out_", "grad_"))}


@pytest.mark.parametrize("table", ["grpo", "kdrl"])
def test_no_stored_number_is_forgotten(table):
    assert set(reached()[table]) == set(expected(table))
    assert len(expected(table)) == {"grpo": 110, "kdrl": 41}[table]


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in ("grpo", "kdrl") for name in expected(table)]
)
def test_stored_number_is_reached(table, name):
    got, wanted = reached()[table][name], expected(table)[name]
    if name == "out_masked_whiten":  # verl whitens the padding as well; here it is 0
        wanted = wanted * GRPO["in_mask"]
    assert got.shape == wanted.shape
    # One advantage near 0 is the difference of numbers near 1, and so exact to the rounding of those only.
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=3e-7 if "reinforcepp" in name else 1e-7)
