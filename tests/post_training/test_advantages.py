import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p

B, T = 9, 4
# Groups of 3, 3, 2 and 1 whose rows stand in any order.
GROUP = np.array([5, 0, 5, 2, 0, 0, 8, 2, 5])
REWARDS = np.random.default_rng(0).normal(size=B).astype(np.float32)
LENGTHS = np.array([4, 1, 3, 2, 4, 1, 2, 3, 1])
WHERE = np.ones(B, bool)


def tokens(lengths):
    return jnp.arange(T) < lengths[:, None]


# All as advantage(rewards [B], group [B], lengths [B], where [B]) -> [B, ...].
ROWWISE = {
    "grpo": lambda r, g, n, w: p.grpo_advantage(r, g, where=w),
    "grpo_batch": lambda r, g, n, w: p.grpo_advantage(r, g, scale="batch", where=w),
    "grpo_reward": lambda r, g, n, w: p.grpo_advantage(r, g, singleton="reward", where=w),
    "dr_grpo": lambda r, g, n, w: p.dr_grpo_advantage(r, g, where=w),
    "rloo": lambda r, g, n, w: p.rloo_advantage(r, g, where=w),
    "opo": lambda r, g, n, w: p.opo_advantage(r, n, g, where=w),
    "gpg": lambda r, g, n, w: p.gpg_advantage(r, g, where=w),
    "gpg_none": lambda r, g, n, w: p.gpg_advantage(r, g, correction=None, where=w),
    "pass_at_k": lambda r, g, n, w: p.pass_at_k_advantage(r, g, where=w),
    "baseline": lambda r, g, n, w: p.reinforce_pp_baseline_advantage(r, g, tokens(n), where=w),
    "mean": lambda r, g, n, w: p.group_statistics(r, g, where=w).mean,
    "std": lambda r, g, n, w: p.group_statistics(r, g, where=w).std,
    "weights": lambda r, g, n, w: p.dynamic_sampling_weights(r, g, rescale=True, where=w),
}
all_of_them = jax.jit(lambda *args: {name: call(*args) for name, call in ROWWISE.items()})
IN_A_GROUP = ("grpo", "dr_grpo", "rloo", "opo", "pass_at_k", "mean", "std")


@functools.cache
def usual():
    return all_of_them(REWARDS, GROUP, LENGTHS, WHERE)


def test_by_hand():
    # Groups (1, 0) and (2, 4): deviations -+1/2 and -+1; standard deviations (ddof 1) sqrt(1/2) and sqrt(2), so
    # GRPO gives +-1/sqrt(2) to all. The batch (1, 0, 2, 4): mean 7/4, var (9 + 49 + 1 + 81) / 16 / 3 = 35/12.
    # Lengths (3, 1, 1, 1): OPO's baselines are 3/4 and 3. The best lead by 1 and 2.
    rewards, group, lengths = (
        jnp.array([1.0, 0.0, 2.0, 4.0]),
        jnp.array([3, 3, 0, 0]),
        jnp.array([3, 1, 1, 1]),
    )
    got = all_of_them(rewards, group, lengths, jnp.ones(4))
    root = 2**-0.5
    wanted = {
        "grpo": [root, -root, -root, root],
        "grpo_batch": np.array([0.5, -0.5, -1, 1]) / (35 / 12) ** 0.5,
        "dr_grpo": [0.5, -0.5, -1, 1],
        "rloo": [1, -1, -2, 2],
        "opo": [0.25, -0.75, -1, 1],
        "gpg": [0.5, -0.5, -1, 1],
        "pass_at_k": [2 * root, 0, 0, 2 * root],
        "mean": [0.5, 0.5, 3, 3],
        "std": [root, root, 2 * root, 2 * root],
        "weights": [1, 1, 1, 1],
    }
    for name, numbers in wanted.items():
        np.testing.assert_allclose(got[name], numbers, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_may_stand_in_any_order(name):
    order = np.random.default_rng(1).permutation(B)
    moved = all_of_them(REWARDS[order], GROUP[order], LENGTHS[order], WHERE)[name]
    np.testing.assert_allclose(moved, usual()[name][order], rtol=2e-5, atol=1e-6)


def test_ids_are_names_only():
    renamed = all_of_them(REWARDS, np.array([1, 4, 1, 7, 4, 4, 0, 7, 1]), LENGTHS, WHERE)
    chex.assert_trees_all_close(renamed, usual(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["grpo", "dr_grpo", "rloo", "opo", "gpg", "pass_at_k", "baseline", "weights"]
)
def test_a_shift_of_a_groups_rewards_changes_nothing(name):
    shifted = all_of_them(REWARDS + np.float32(4) * (GROUP % 3), GROUP, LENGTHS, WHERE)[name]
    np.testing.assert_allclose(shifted, usual()[name], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ROWWISE)
def test_a_masked_row_is_a_dropped_row(name):
    keep = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1], bool)
    dirty = np.where(keep, REWARDS, np.nan)
    masked = all_of_them(dirty, GROUP, LENGTHS, keep)[name]
    renamed = all_of_them(dirty, 1000 * GROUP - 7, LENGTHS, keep)[name]
    smaller = np.unique(GROUP[keep], return_inverse=True)[1]
    dropped = all_of_them(REWARDS[keep], smaller, LENGTHS[keep], np.ones(7, bool))[name]
    np.testing.assert_allclose(masked[keep], dropped, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(masked[~keep], np.zeros_like(masked[~keep]))
    np.testing.assert_array_equal(masked, renamed)


def test_equal_rewards_give_exactly_zero_for_any_size_of_the_group():
    group = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])
    for reward in np.float32([0.1, 1 / 3, -7.7e3, 1e-30, 1e4]):
        rewards = np.where(group == 0, reward, 3 * reward).astype(np.float32)
        got = all_of_them(rewards, group, LENGTHS, WHERE)
        for name in set(ROWWISE) - {"mean"}:
            np.testing.assert_array_equal(got[name], np.zeros_like(got[name]), err_msg=name)
        np.testing.assert_array_equal(got["mean"], rewards)


def test_a_response_alone_in_its_group():
    alone, got = 6, usual()
    for name in set(ROWWISE) - {"mean", "grpo_reward", "baseline"}:
        assert got[name][alone] == 0, name
    np.testing.assert_allclose(got["grpo_reward"][alone], REWARDS[alone], rtol=2e-6)
    np.testing.assert_allclose(np.delete(got["grpo_reward"], alone), np.delete(got["grpo"], alone))
    assert got["mean"][alone] == REWARDS[alone]
    batch = p.grpo_advantage(REWARDS, GROUP, scale="batch", singleton="reward")
    np.testing.assert_allclose(batch[alone], REWARDS[alone] / REWARDS.std(ddof=1), rtol=1e-5)


def test_a_response_alone_may_keep_its_reward_as_in_verl():
    """Rewards 3 and 1 of one prompt, 4 of another: whitened over two, one and three tokens."""
    mask, args = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]]), (np.float32([3, 1, 4]), np.array([5, 5, 2]))
    opo = lambda lengths, **more: p.opo_advantage(args[0], lengths, args[1], singleton="reward", **more)
    opo, empty, left_out, gpg, whitened = jax.jit(
        lambda: (
            opo(mask.sum(1)),
            opo(np.array([1, 1, 0])),
            opo(mask.sum(1), where=np.array([1, 0, 0])),
            p.gpg_advantage(*args, correction="nonzero_reward", singleton="reward"),
            p.reinforce_pp_baseline_advantage(*args, mask, singleton="reward"),
        )
    )()
    np.testing.assert_allclose(opo, [2 / 3, -4 / 3, 4], rtol=1e-5)
    np.testing.assert_allclose(empty, [1, -1, 4])
    np.testing.assert_array_equal(left_out, [3, 0, 0])
    np.testing.assert_allclose(gpg, [1, -1, 4], rtol=1e-6)
    tokens = np.array([1, 1, -1, 4, 4, 4])
    np.testing.assert_allclose(whitened[mask == 1], (tokens - tokens.mean()) / tokens.std(ddof=1), rtol=1e-5)


@pytest.mark.parametrize("name", IN_A_GROUP)
def test_a_nan_is_seen_in_its_group_and_nowhere_else(name):
    got = all_of_them(np.where(np.arange(B) == 3, np.nan, REWARDS), GROUP, LENGTHS, WHERE)[name]
    np.testing.assert_array_equal(np.isnan(got), np.equal(GROUP, GROUP[3]))


def test_rewards_get_no_gradient():
    def total(rewards):
        return sum(jnp.sum(x) for x in jax.tree.leaves(all_of_them(rewards, GROUP, LENGTHS, WHERE)))

    np.testing.assert_array_equal(jax.grad(total)(REWARDS), np.zeros(B))


def test_group_statistics_match_a_loop():
    mean, std, size = p.group_statistics(REWARDS, GROUP, ddof=0)
    for i in range(B):
        own = REWARDS[GROUP[i] == GROUP]
        np.testing.assert_allclose(mean[i], own.mean(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(std[i], own.std(), rtol=1e-5, atol=1e-7)
        assert size[i] == len(own)


def test_a_tie_at_the_top_has_no_best():
    got = p.pass_at_k_advantage(jnp.array([1.0, 1.0, 0.0, 3.0, 1.0]), jnp.array([0, 0, 0, 1, 1]), scale=None)
    np.testing.assert_array_equal(got, [0, 0, 0, 2, 0])


def test_gpg_makes_up_for_groups_without_signal():
    # Of three groups of two one is all right and one all wrong: alpha is 6 / 2. verl counts three rewards of 1.
    rewards, group = jnp.array([1.0, 1, 0, 0, 1, 0]), jnp.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(p.gpg_advantage(rewards, group), [0, 0, 0, 0, 1.5, -1.5], rtol=1e-6)
    verl = p.gpg_advantage(rewards, group, correction="nonzero_reward")
    np.testing.assert_allclose(verl, [0, 0, 0, 0, 1, -1], rtol=1e-6)


RETURNS = jax.jit(p.returns_to_go)


def test_returns_may_start_anew_after_a_hole():
    """verl's loop: what runs on is multiplied by the mask after it has been stored."""
    rewards, mask = np.float32([[1, 2, 9, 4, 5]]), np.array([[1, 1, 0, 1, 1]])
    running, wanted = 0.0, np.zeros((1, 5))
    for t in reversed(range(5)):
        running = rewards[0, t] * mask[0, t] + 0.5 * running
        wanted[0, t] = running * mask[0, t]
        running *= mask[0, t]
    restarted = jax.jit(p.returns_to_go, static_argnames="restart")(rewards, mask, gamma=0.5, restart=True)
    np.testing.assert_allclose(restarted, wanted)
    np.testing.assert_allclose(wanted, [[2, 2, 0, 6.5, 5]])
    np.testing.assert_allclose(
        p.reinforce_pp_advantage(rewards, mask, gamma=0.5, restart=True), p.whiten(wanted, mask), rtol=1e-5
    )


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.0])
def test_returns_pass_over_holes_and_take_no_discount_there(gamma):
    rng = np.random.default_rng(2)
    rewards = rng.normal(size=(3, 7)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]], bool)
    got = RETURNS(np.where(mask, rewards, np.nan), mask, gamma=gamma)
    for row in range(3):
        own, later = rewards[row][mask[row]], 0.0
        wanted = []
        for reward in own[::-1]:
            later = reward + gamma * later
            wanted.append(later)
        np.testing.assert_allclose(got[row][mask[row]], wanted[::-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got[row][~mask[row]], 0)
    assert RETURNS(jnp.zeros((2, 0)), jnp.ones((2, 0))).shape == (2, 0)


WHITEN = jax.jit(p.whiten)


def test_whitening():
    rng = np.random.default_rng(3)
    values, mask = 5 + 3 * rng.normal(size=(4, 6)).astype(np.float32), rng.random((4, 6)) < 0.6
    white = WHITEN(np.where(mask, values, np.nan), mask)
    np.testing.assert_allclose(white[mask].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(white[mask].std(ddof=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(white[~mask], 0)
    np.testing.assert_array_equal(WHITEN(np.full((4, 6), 0.1, np.float32), mask), np.zeros((4, 6)))
    np.testing.assert_array_equal(WHITEN(values, np.zeros((4, 6), bool)), np.zeros((4, 6)))
    assert np.isnan(WHITEN(np.where(mask, np.nan, values), mask)[mask]).all()


def test_token_advantages_by_hand_and_without_gradient():
    rewards, mask = jnp.array([[0.0, 1.0, 9.0], [2.0, 1.0, 1.0]]), jnp.array([[1, 1, 0], [1, 1, 1]])
    # Returns 1, 1 and 4, 2, 1; less the greedy 0.5 and 3. Their mean 9/5, var (3 (4/5)^2 + (11/5)^2 + (1/5)^2) / 4.
    remax = p.remax_advantage(rewards, jnp.array([0.5, 3.0]), mask)
    np.testing.assert_allclose(remax, [[0.5, 0.5, 0], [1, -1, -2]])
    white = p.reinforce_pp_advantage(rewards, mask)
    wanted = np.array([[-0.8, -0.8, 0], [2.2, 0.2, -0.8]]) / 1.7**0.5
    np.testing.assert_allclose(white, wanted, rtol=1e-5)

    def total(rewards):
        white = p.reinforce_pp_advantage(rewards, mask)
        return jnp.sum(p.remax_advantage(rewards, jnp.zeros(2), mask) + white * white)

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(rewards), np.zeros((2, 3)))
