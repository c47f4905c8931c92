"""What takes `axis_name` gives on four devices the value and the gradient of one, with groups that span devices."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import post_training as p

B, T = 8, 3
KEYS = jax.random.split(jax.random.key(0), 6)
LENGTHS = jnp.array([3, 1, 0, 0, 2, 3, 1, 2])  # the second device holds no token
BATCH = {
    "log_probs": jax.random.normal(KEYS[0], (B, T)),
    "old": jax.random.normal(KEYS[1], (B, T)),
    "teacher": jax.random.normal(KEYS[2], (B, T)),
    "entropy": jax.random.uniform(KEYS[3], (B, T)),
    "rewards": jax.random.normal(KEYS[4], (B,)),
    "group": jnp.array([0, 7, 0, 3, 7, 3, 0, 5]),
    "where": jnp.array([1, 1, 1, 0, 1, 1, 1, 1]),
    "lengths": LENGTHS,
    "mask": jnp.arange(T) < LENGTHS[:, None],
}
ADVANTAGES = (
    p.grpo_advantage,
    p.dr_grpo_advantage,
    p.rloo_advantage,
    p.gpg_advantage,
    p.pass_at_k_advantage,
    p.maxrl_advantage,
    lambda r, g, **kw: p.gdpo_advantage(jnp.stack([r, r**2], axis=1), g, **kw),
    p.dynamic_sampling_weights,
    lambda r, g, **kw: p.grpo_advantage(r, g, scale="batch", **kw),
    lambda r, g, **kw: p.dynamic_sampling_weights(r, g, rescale=True, **kw),
    lambda r, g, **kw: sum(p.group_statistics(r, g, **kw)),
    lambda r, g, **kw: p.kd_keep_mask(r > 0, g, mode="group", **kw).astype(jnp.float32),
)
MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")


def test_a_whole_step_is_the_same_on_four_devices(assert_global):
    """Each advantage, token choice and reduction enters the loss with a weight of its own."""

    def loss(weight, batch, axis_name):
        log_probs, mask, name = weight * batch["log_probs"], batch["mask"], {"axis_name": axis_name}
        rows = {"where": batch["where"]} | name
        each = [call(batch["rewards"], batch["group"], **rows) for call in ADVANTAGES]
        each.append(p.opo_advantage(batch["rewards"], batch["lengths"], batch["group"], **rows))
        advantage = sum((1 + 0.1 * i) * a for i, a in enumerate(each))[:, None]
        advantage += p.reinforce_pp_baseline_advantage(batch["rewards"], batch["group"], mask, **rows)
        advantage += p.reinforce_pp_advantage(batch["old"], mask, **name)
        ratio = p.token_importance_ratio(log_probs, batch["old"], where=mask)
        chosen = p.top_entropy_mask(batch["entropy"], mask, fraction=0.4, **name)
        losses = (1 + chosen) * p.ppo_clip_loss(ratio, advantage, where=mask) + p.whiten(
            log_probs, mask, **name
        )
        total = p.kdrl_loss(log_probs, batch["old"], batch["teacher"], advantage, mask, beta=0.3, **name)
        total += p.clip_fraction(ratio, advantage, where=mask, **name)
        total += p.dual_clip_fraction(ratio, advantage, where=mask, dual_clip=1.5, **name)
        for i, mode in enumerate(MODES):
            total += (1 + i) * p.aggregate(losses, mask, mode=mode, **name)
            total += 0.1 * p.aggregate(losses, mask, mode=mode, count_empty=True, **name)
        return total

    assert_global(loss, jnp.float32(0.7), BATCH)


def test_a_group_over_two_devices_by_hand():
    rewards, group = jnp.array([[1.0, 5.0], [3.0, 4.0]]), jnp.array([[3, 0], [3, 2]])
    got = jax.vmap(lambda r, g: p.dr_grpo_advantage(r, g, axis_name="data"), axis_name="data")(rewards, group)
    np.testing.assert_array_equal(got, [[-1, 0], [1, 0]])
