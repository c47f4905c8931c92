"""What every function of the room on log-probabilities or rewards keeps to, whatever its formula."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p
from jaxlab.post_training import kdrl

B, T = 4, 3
RNG = np.random.default_rng(0)
MASK = np.arange(T) < np.array([[3], [1], [2], [0]])
USUAL = {
    "log_probs": -np.abs(RNG.normal(size=(B, T))),
    "old": -np.abs(RNG.normal(size=(B, T))),
    "rewards": RNG.normal(size=B),
    "group": np.array([1, 1, 3, 1]),
    "mask": MASK,
}
USUAL = {name: x.astype(np.float32) if x.dtype == float else x for name, x in USUAL.items()}
KINDS = ("k1", "abs", "k2", "k3", "k1+", "k3+")
LEVELS = ("token", "sequence", "geometric")
MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")


def token_ratio(a):
    return p.token_importance_ratio(a["log_probs"], a["old"], where=a["mask"])


# All of floats `log_probs`, `old` [B, T] and `rewards` [B], ids `group` [B] and `mask` [B, T]; `mask` covers every
# float per token, and the rows without tokens have no reward that counts.
CALLS = {
    "token_importance_ratio": token_ratio,
    "sequence_importance_ratio": lambda a: p.sequence_importance_ratio(
        a["log_probs"], a["old"], where=a["mask"]
    ),
    "geometric_importance_ratio": lambda a: p.geometric_importance_ratio(
        a["log_probs"], a["old"], a["rewards"], where=a["mask"]
    ),
    "ppo_clip_loss": lambda a: p.ppo_clip_loss(token_ratio(a), a["rewards"], where=a["mask"]),
    "ppo_clip_loss dual": lambda a: p.ppo_clip_loss(
        token_ratio(a), a["rewards"], where=a["mask"], dual_clip=3.0, ratio_cap=4.0
    ),
    "cispo_loss": lambda a: p.cispo_loss(a["log_probs"], token_ratio(a), a["rewards"], where=a["mask"]),
    "gpg_loss": lambda a: p.gpg_loss(a["log_probs"], a["rewards"], where=a["mask"]),
    "gmpo_loss": lambda a: p.gmpo_loss(a["log_probs"], a["old"], a["rewards"], where=a["mask"]),
    "clip_fraction": lambda a: p.clip_fraction(token_ratio(a), a["rewards"], where=a["mask"]),
    "dual_clip_fraction": lambda a: p.dual_clip_fraction(token_ratio(a), a["rewards"], where=a["mask"]),
    "kl_in_reward": lambda a: p.kl_in_reward(
        a["log_probs"], a["log_probs"], a["old"], beta=0.1, where=a["mask"]
    ),
    "whiten": lambda a: p.whiten(a["log_probs"], a["mask"]),
    "returns_to_go": lambda a: p.returns_to_go(a["log_probs"], a["mask"], gamma=0.9),
    "reinforce_pp_advantage": lambda a: p.reinforce_pp_advantage(a["log_probs"], a["mask"], gamma=0.9),
    "reinforce_pp_baseline_advantage": lambda a: p.reinforce_pp_baseline_advantage(
        a["rewards"], a["group"], a["mask"], where=a["mask"].any(-1)
    ),
    "remax_advantage": lambda a: p.remax_advantage(a["log_probs"], a["rewards"], a["mask"]),
    "kd_reward": lambda a: p.kd_reward(a["log_probs"], a["old"], where=a["mask"], clip=5.0),
    "kd_rkl clip": lambda a: p.kd_rkl(a["log_probs"], a["old"], where=a["mask"], clip=0.5),
    "kd_shaped_advantage": lambda a: kdrl.kd_shaped_advantage(
        a["rewards"], a["log_probs"], a["old"], where=a["mask"]
    ),
    "kdrl_loss": lambda a: kdrl.kdrl_loss(
        a["log_probs"], a["old"], a["old"], a["rewards"], a["mask"], clip=0.5
    ),
    "sapo_loss": lambda a: p.sapo_loss(token_ratio(a), a["rewards"], where=a["mask"]),
    "vespo_loss": lambda a: p.vespo_loss(a["log_probs"], a["old"], a["rewards"], where=a["mask"]),
    "vespo_loss corrected": lambda a: p.vespo_loss(
        a["log_probs"], a["old"], a["rewards"], correction=jnp.exp(jnp.minimum(a["old"], 0)), where=a["mask"]
    ),
    "mixture_log_probs": lambda a: p.mixture_log_probs(
        jnp.stack([a["log_probs"], a["old"]]), weights=jnp.array([3.0, 1.0]), where=a["mask"]
    ),
    "truncated_importance_weight": lambda a: p.truncated_importance_weight(
        a["log_probs"], a["old"], where=a["mask"]
    ),
    **{
        f"masked_importance_weight {level}": lambda a, level=level: p.masked_importance_weight(
            a["log_probs"], a["old"], level=level, low=0.2, where=a["mask"]
        )
        for level in LEVELS
    },
    "off_policy_sequence_mask": lambda a: p.off_policy_sequence_mask(
        a["log_probs"], a["old"], a["rewards"], threshold=0.1, where=a["mask"]
    ),
    **{
        f"dppo_mask {kind}": lambda a, kind=kind: p.dppo_mask(
            a["log_probs"], a["old"], a["rewards"], divergence=kind, where=a["mask"]
        )
        for kind in ("tv", "kl")
    },
    "score_centering": lambda a: p.score_centering(
        a["log_probs"][..., None], a["old"][..., None], weight="truncated", high=2.0, where=a["mask"]
    ),
    **{
        f"kl_estimate {kind}": lambda a, kind=kind: p.kl_estimate(
            a["log_probs"], a["old"], kind=kind, where=a["mask"]
        )
        for kind in KINDS
    },
    **{
        f"aggregate {mode}": lambda a, mode=mode: p.aggregate(a["log_probs"], a["mask"], mode=mode)
        for mode in MODES
    },
}
ROWS = {
    "grpo_advantage": p.grpo_advantage,
    "grpo_advantage batch": functools.partial(p.grpo_advantage, scale="batch"),
    "dr_grpo_advantage": p.dr_grpo_advantage,
    "rloo_advantage": p.rloo_advantage,
    "gpg_advantage": p.gpg_advantage,
    "pass_at_k_advantage": p.pass_at_k_advantage,
    "maxrl_advantage": p.maxrl_advantage,
    "gdpo_advantage": lambda r, g, where: p.gdpo_advantage(jnp.stack([r, r**2], axis=1), g, where=where),
    "dynamic_sampling_weights": p.dynamic_sampling_weights,
    "opo_advantage": lambda r, g, where: p.opo_advantage(r, jnp.abs(r), g, where=where),
}
CALLS |= {
    name: lambda a, call=call: call(a["rewards"], a["group"], where=a["mask"].any(-1))
    for name, call in ROWS.items()
}


NAMES = sorted(CALLS)
# Data and metrics, without any gradient; and gradients that are not the slope of the value, as they are passed
# straight through or leave out the ratio.
CONSTANT = {"clip_fraction", "dual_clip_fraction", "kd_reward", "kd_shaped_advantage", "kl_in_reward",
            "reinforce_pp_advantage", "reinforce_pp_baseline_advantage", "remax_advantage",
            "truncated_importance_weight", *(f"masked_importance_weight {level}" for level in LEVELS),
            "off_policy_sequence_mask", "dppo_mask tv", "dppo_mask kl", "mixture_log_probs", *ROWS}  # fmt: skip
NOT_THE_SLOPE = {"sequence_importance_ratio", "kl_estimate k1+", "kl_estimate k3+", "cispo_loss", "score_centering",
                 "vespo_loss", "vespo_loss corrected"}  # fmt: skip


def values(floats, rest):
    """Every value, and one number from each: a sum with unlike weights, as equal ones would cancel."""
    out = {name: CALLS[name]({**floats, **rest}) for name in NAMES}
    total = lambda x: jnp.sum(x * jnp.cos(jnp.arange(x.size)).reshape(x.shape))
    return jnp.stack([total(out[name]) for name in NAMES]), out


@jax.jit
def graded(floats, rest):
    """Values, and the gradients of each number with respect to all floats, in the order of `NAMES`."""
    totals, pull, out = jax.vjp(lambda floats: values(floats, rest), floats, has_aux=True)
    return out, jax.vmap(lambda row: pull(row)[0])(jnp.eye(len(NAMES), dtype=totals.dtype))


def split(a):
    floats = {name: a[name] for name in ("log_probs", "old", "rewards")}
    return floats, {name: a[name] for name in ("group", "mask")}


def finite(tree):
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree))


def same(got, wanted, rtol=1e-5, atol=1e-6):
    chex.assert_trees_all_close(got, wanted, rtol=rtol, atol=atol)


@functools.cache
def usual():
    return graded(*split(USUAL))


def test_usual_values_are_finite_and_of_float32():
    assert finite(usual())
    assert {x.dtype for x in usual()[0].values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("new", "old"), list(itertools.product([-1e4, 0.0, 1e4], [-1e4, 0.0])))
def test_extreme_log_probabilities_are_finite(new, old):
    changed = {
        **USUAL,
        "log_probs": np.full((B, T), new, np.float32),
        "old": np.full((B, T), old, np.float32),
    }
    assert finite(graded(*split(changed)))
    assert finite(graded(*split({**changed, "rewards": np.float32([1e4, -1e4, 1e4, -1e4])})))


def test_nothing_valid_is_zero_everywhere():
    out, gradients = graded(*split({**USUAL, "mask": np.zeros((B, T), bool)}))
    for name, value in out.items():
        np.testing.assert_array_equal(value, np.full(value.shape, float("ratio" in name)), err_msg=name)
    for gradient in gradients.values():
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_what_stands_outside_the_mask_is_never_seen():
    dirty = {name: np.where(MASK, USUAL[name], np.nan) for name in ("log_probs", "old")}
    dirty["rewards"] = np.where(MASK.any(-1), USUAL["rewards"], np.inf)
    same(graded(*split({**USUAL, **dirty})), usual())


def test_no_gradient_reaches_the_sampling_policy_or_the_advantage():
    gradients = dict(zip(NAMES, zip(*(usual()[1][name] for name in ("log_probs", "old", "rewards")))))
    for name, (log_probs, old, rewards) in gradients.items():
        np.testing.assert_array_equal(old, np.zeros((B, T)), err_msg=name)
        np.testing.assert_array_equal(rewards, np.zeros(B), err_msg=name)
        np.testing.assert_array_equal(log_probs[~MASK], 0, err_msg=name)
        assert (log_probs == 0).all() == (name in CONSTANT), name


def test_half_precision_is_computed_in_float32():
    floats, rest = split(USUAL)
    half = {name: jnp.asarray(x, jnp.bfloat16) for name, x in floats.items()}
    out, gradients = graded(half, rest)
    assert {x.dtype for x in out.values()} == {jnp.dtype("float32")}
    assert {x.dtype for x in gradients.values()} == {jnp.dtype("bfloat16")}
    assert finite(gradients)
    same(out, graded({name: jnp.float32(x) for name, x in half.items()}, rest)[0])


def test_float64_stays_and_the_gradient_matches_finite_differences():
    with jax.enable_x64(True):
        floats, rest = split(
            {name: x.astype(float) if x.dtype == np.float32 else x for name, x in USUAL.items()}
        )
        out, gradients = graded(floats, rest)
        assert {x.dtype for name, x in out.items() if "fraction" not in name} == {jnp.dtype("float64")}
        direction, step = np.where(MASK, RNG.normal(size=(B, T)), 0.0), 1e-6
        totals = lambda sign: jax.jit(values)(
            {**floats, "log_probs": floats["log_probs"] + sign * step * direction}, rest
        )[0]
        slopes = (totals(1) - totals(-1)) / (2 * step)
    got = np.sum(np.asarray(gradients["log_probs"]) * direction, axis=(1, 2))
    tested = [i for i, name in enumerate(NAMES) if name not in CONSTANT | NOT_THE_SLOPE]
    assert (got[tested] != 0).all()
    np.testing.assert_allclose(got[tested], np.asarray(slopes)[tested], rtol=1e-6, atol=1e-8)


def test_without_jit_the_numbers_are_the_same():
    floats, rest = split(USUAL)
    with jax.disable_jit():
        same(values(floats, rest)[1], usual()[0])


def test_vmap_is_a_loop():
    other = {
        **USUAL,
        "log_probs": USUAL["old"],
        "old": USUAL["log_probs"],
        "mask": MASK[::-1],
        "group": USUAL["group"][::-1],
    }
    stacked = jax.tree.map(lambda a, b: np.stack([a, b]), USUAL, other)
    got = jax.jit(jax.vmap(values))(*split(stacked))[1]
    same(jax.tree.map(lambda x: x[0], got), usual()[0])
    same(jax.tree.map(lambda x: x[1], got), graded(*split(other))[0])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_an_empty_batch_or_empty_responses(shape):
    rest = {"group": np.zeros(shape[0], int), "mask": np.ones(shape, bool)}
    floats = {"log_probs": np.zeros(shape, np.float32), "old": np.zeros(shape, np.float32)}
    assert finite(jax.jit(values)(floats | {"rewards": np.zeros(shape[0], np.float32)}, rest))


def test_a_nan_that_counts_is_not_hidden():
    log_probs = USUAL["log_probs"].copy()
    log_probs[0, 0] = np.nan
    out = graded(*split({**USUAL, "log_probs": log_probs}))[0]
    unmoved = {*ROWS, "reinforce_pp_baseline_advantage"}
    for name, value in out.items():
        assert np.isnan(value).any() == (name not in unmoved), name


TOKENS, OTHER, IDS = jnp.zeros((4, 3)), jnp.zeros((4, 2)), jnp.zeros(4, int)
MISTAKES = {
    r"log_probs \(4, 3\) and old_log_probs \(4, 2\) must have one shape \[..., T\]": [
        lambda: p.token_importance_ratio(TOKENS, OTHER),
        lambda: p.sequence_importance_ratio(TOKENS, OTHER),
        lambda: p.gmpo_loss(TOKENS, OTHER, jnp.zeros(4)),
    ],
    r"log_probs \(4, 3\) and teacher_log_probs \(4, 2\) must": [
        lambda: p.kd_reward(TOKENS, OTHER),
        lambda: kdrl.kd_shaped_advantage(jnp.zeros(4), TOKENS, OTHER),
    ],
    r"log_probs \(4, 3\) and ref_log_probs \(4, 2\) must": [lambda: p.kd_rkl(TOKENS, OTHER)],
    r"values \(4, 3\) and mask \(4, 2\) must": [
        lambda: p.aggregate(TOKENS, OTHER),
        lambda: p.whiten(TOKENS, OTHER),
    ],
    r"where has shape \(2,\): it must have the 2 axes of the log_probs \(4, 3\)": [
        lambda: p.gpg_loss(TOKENS, jnp.zeros(4), where=jnp.ones(2)),
        lambda: p.kl_estimate(TOKENS, TOKENS, where=jnp.ones(2)),
    ],
    r"where \(2,\) must broadcast to the rewards \(4,\)": [
        lambda: p.grpo_advantage(jnp.zeros(4), IDS, where=jnp.ones(2))
    ],
    r"advantage \(3,\) must be \[..., T\] \(4, 3\) or \[...\] \(4,\)": [
        lambda: p.ppo_clip_loss(TOKENS, jnp.zeros(3)),
        lambda: kdrl.kdrl_loss(TOKENS, TOKENS, TOKENS, jnp.zeros(3), TOKENS),
    ],
    r"advantage \(3,\) must be \[...\] for log_probs \[..., T\] \(4, 3\)": [
        lambda: p.geometric_importance_ratio(TOKENS, TOKENS, jnp.zeros(3))
    ],
    r"rewards \(4, 3\) must be \[B\]": [lambda: p.dr_grpo_advantage(TOKENS, IDS)],
    r"group \(3,\) must have the shape \[B\] of rewards \(4,\)": [
        lambda: p.rloo_advantage(jnp.zeros(4), IDS[:3])
    ],
    r"group \(3,\) must have the shape \[B\] of correct \(4,\)": [
        lambda: kdrl.kd_keep_mask(jnp.zeros(4), IDS[:3])
    ],
    r"lengths \(3,\) must have the shape": [lambda: p.opo_advantage(jnp.zeros(4), IDS[:3], IDS)],
    r"group must be integers, one number per prompt, got float32": [
        lambda: p.gpg_advantage(jnp.zeros(4), jnp.zeros(4))
    ],
    r"mask \(3, 3\) must be \[B, T\] for rewards \[B\] \(4,\)": [
        lambda: p.reinforce_pp_baseline_advantage(jnp.zeros(4), IDS, TOKENS[:3])
    ],
    r"baseline \(3,\) must be \[...\] for token_rewards": [
        lambda: p.remax_advantage(TOKENS, jnp.zeros(3), TOKENS)
    ],
    r"student_logits \(4, 3\) and teacher_logits \(4, 2\) must have one shape \[..., T, V\]": [
        lambda: p.exact_reverse_kl(TOKENS, OTHER)
    ],
    "scale must be one of .*, got 'groups'": [
        lambda: p.grpo_advantage(jnp.zeros(4), IDS, scale="groups"),
        lambda: p.pass_at_k_advantage(jnp.zeros(4), IDS, scale="groups"),
    ],
    "singleton must be one of .*, got 'one'": [lambda: p.rloo_advantage(jnp.zeros(4), IDS, singleton="one")],
    "correction must be one of .*, got 'all'": [lambda: p.gpg_advantage(jnp.zeros(4), IDS, correction="all")],
    "kind must be one of .*, got 'k4'": [lambda: p.kl_estimate(TOKENS, TOKENS, kind="k4")],
    "mode must be one of .*, got 'mean'": [lambda: p.aggregate(TOKENS, TOKENS, mode="mean")],
    "mode must be one of .*, got 'all'": [lambda: kdrl.kd_keep_mask(IDS, IDS, mode="all")],
    "denominator must be one of .*, got 'none'": [
        lambda: kdrl.kdrl_loss(TOKENS, TOKENS, TOKENS, IDS, TOKENS, denominator="none")
    ],
    "normalizer belongs to mode 'constant', got mode 'token-mean'": [
        lambda: p.aggregate(TOKENS, TOKENS, normalizer=3.0)
    ],
    "normalizer must be positive, got 0": [
        lambda: p.aggregate(TOKENS, TOKENS, mode="constant", normalizer=0)
    ],
    "clip belongs to kind 'k2', got kind 'k3'": [lambda: p.kd_rkl(TOKENS, TOKENS, kind="k3", clip=1.0)],
    "ddof must be 0 or 1, got 2": [lambda: p.group_statistics(jnp.zeros(4), IDS, ddof=2)],
    "clip_low must be at least 0, got -0.1": [lambda: p.ppo_clip_loss(TOKENS, jnp.zeros(4), clip_low=-0.1)],
    "dual_clip must be at least 1, got 0.5": [lambda: p.ppo_clip_loss(TOKENS, jnp.zeros(4), dual_clip=0.5)],
    "log_clip must be at least 0, got -1": [lambda: p.token_importance_ratio(TOKENS, TOKENS, log_clip=-1)],
    r"fraction must be in \[0, 1\], got 1.5": [lambda: p.top_entropy_mask(TOKENS, TOKENS, fraction=1.5)],
    r"buffer must be in \(0, max_length\], got buffer 0": [
        lambda: p.overlong_penalty(IDS, max_length=10, buffer=0)
    ],
    "k must be a static integer of at least 1, got 0": [lambda: p.pass_at_k(IDS, IDS, 0)],
    r"num_samples \(4,\) and num_correct \(3,\) must broadcast": [lambda: p.pass_at_k(IDS, IDS[:3], 1)],
    r"correct \(\) must be \[..., n\]": [lambda: p.avg_at_n(jnp.array(1))],
    "decrement must be at least 0, got -1": [lambda: kdrl.annealed_beta(IDS, decrement=-1)],
    "beta must be at least 0, got -1": [lambda: p.kl_in_reward(TOKENS, TOKENS, TOKENS, beta=-1)],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_clear_line(message):
    for call in MISTAKES[message]:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
