"""Whole iterations of reinforcement learning, sampling included: `rlvr_learner` against TRL's `GRPOTrainer.train()`.

`python -m benchmarks.rlvr [rounds]`. Both as their users run them, in float32, without a reference model: 2 prompts
of 16 tokens with 8 completions of 128 for a model of 3.7 million parameters, and 16 prompts of 6 tokens with 8
completions of 4 for one of two layers of width 64. The reward is the share of even tokens. jaxlab takes part three
times: updates called one by one or scanned, on one device that uses both cores, and scanned with the prompts split
over one device per core (`mesh.data=2` on the command line). All have two threads.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peer_models, processes
from benchmarks.rounds import alternate, report


class Setting(NamedTuple):
    """Sizes of a comparison, and how many iterations a measurement takes on either side."""

    model: str
    prompts: int
    prompt: int
    new: int
    steps: int
    scanned: int


GROUP, EOS, SOURCE = 8, 1, 64
SETTINGS = {
    "long": Setting("small", prompts=2, prompt=16, new=128, steps=2, scanned=2),
    "short": Setting("tiny", prompts=16, prompt=6, new=4, steps=20, scanned=50),
}


def source(setting: Setting) -> np.ndarray:
    """Prompts to draw from, `[64, T]`."""
    vocabulary = peer_models.SHAPES[setting.model]["vocab_size"]
    return np.random.default_rng(0).integers(2, vocabulary, (SOURCE, setting.prompt))


class Problems(NamedTuple):
    """What the learner asks of a batch."""

    prompts: Any
    prompt_mask: Any


def jaxlab_side(
    folder: str, name: str, *, scan: bool, per_core: bool = False
) -> tuple[dict[str, Any], Callable[[], float]]:
    """Updates called from Python one by one, or several in one scan as the engine runs them."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from jaxlab import post_training as rl
    from jaxlab.training.mesh import put

    mesh = peer_models.jax_mesh(per_core=per_core)
    by_row, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    setting = SETTINGS[name]
    model, params = peer_models.jax_model(folder)
    prompts = jnp.asarray(source(setting), jnp.int32)

    def loss(log_probs: jax.Array, rollouts: Any, advantage: jax.Array) -> Any:
        ratio = rl.token_importance_ratio(log_probs, jax.lax.stop_gradient(log_probs), where=rollouts.mask)
        return rl.aggregate(rl.ppo_clip_loss(ratio, advantage, where=rollouts.mask), rollouts.mask), {}

    def verify(problems: Any, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.sum((tokens % 2 == 0) & mask, axis=1) / jnp.maximum(jnp.sum(mask, axis=1), 1)

    learner = rl.rlvr_learner(
        model, policy=lambda context: context, verify=verify, loss=loss,
        advantage=lambda r: rl.grpo_advantage(r.rewards, r.group),
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6, weight_decay=0.0)),
        group_size=GROUP, max_new_tokens=setting.new, eos=EOS,
    )  # fmt: skip

    def update(state: Any, key: jax.Array) -> Any:
        draw_key, update_key = jax.random.split(key)
        rows = jax.random.choice(draw_key, SOURCE, (setting.prompts,), replace=False)
        chosen = Problems(prompts[rows], jnp.ones((setting.prompts, setting.prompt), bool))
        chosen = jax.lax.with_sharding_constraint(chosen, by_row)
        state, metrics = learner.update(state, chosen, update_key, {})
        return state, metrics["length"]

    several = lambda state, key: jax.lax.scan(update, state, jax.random.split(key, setting.scanned))
    call = jax.jit(several if scan else update, donate_argnums=0, out_shardings=whole)
    state = put(learner.init(jax.random.key(0), params), whole)
    count = 0

    def run() -> Any:
        nonlocal state, count
        state, length = jax.block_until_ready(call(state, jax.random.key(count)))
        count += 1
        return length

    length = float(jnp.mean(run()))
    measure = processes.timed(run, times=1 if scan else setting.steps)
    return {"length": length}, lambda: measure() / (setting.scanned if scan else 1)


def trl_side(folder: str, name: str) -> tuple[dict[str, Any], Callable[[], float]]:
    """`train()`, from the end of its first iteration to the end of the last."""
    from transformers import TrainerCallback

    setting, moments, lengths = SETTINGS[name], [], []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.extend(map(len, completion_ids))
        return [sum(token % 2 == 0 for token in row) / max(len(row), 1) for row in completion_ids]

    trainer = peer_models.grpo_trainer(
        folder, prompts=[" ".join(map(str, row)) for row in source(setting)], reward=reward,
        num_generations=GROUP, per_device_train_batch_size=GROUP * setting.prompts,
        max_completion_length=setting.new, max_steps=setting.steps + 1,
    )  # fmt: skip
    trainer.add_callback(Clock())

    def measure() -> float:
        moments.clear()
        trainer.train()
        return (moments[-1] - moments[0]) / (len(moments) - 1)

    measure()
    return {"length": float(np.mean(lengths))}, measure


SIDES = {
    "TRL": trl_side,
    "jaxlab, one by one": functools.partial(jaxlab_side, scan=False),
    "jaxlab, scanned": functools.partial(jaxlab_side, scan=True),
    "jaxlab, scanned, a device per core": functools.partial(jaxlab_side, scan=True, per_core=True),
}


def main(rounds: int) -> None:
    """Print both comparisons."""
    for name, setting in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            peer_models.write_model(folder, setting.model)
            with processes.started("benchmarks.rlvr", list(SIDES), [folder, name]) as contenders:
                lengths = {side: contender.facts["length"] for side, contender in contenders.items()}
                times = alternate(contenders, rounds=rounds)
        title = f"iteration of {setting.prompts} x {GROUP} completions of {setting.new} tokens"
        report(title, times, base="TRL", unit="ms/iteration", scale=1e3)
        print("  mean lengths: " + ", ".join(f"{side} {length:.1f}" for side, length in lengths.items()))


if __name__ == "__main__":
    processes.run("benchmarks.rlvr", SIDES, main)
