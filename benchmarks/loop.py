"""What the engine costs: `fit` against a scan written by hand, and many seeds at once against a Python loop.

`python -m benchmarks.loop [rounds]`
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.rounds import alternate, report
from jaxlab import data, distillation, nets
from jaxlab.core import Learner, cross_entropy, gradient_learner
from jaxlab.training import Plan, fit
from jaxlab.training._program import seed_keys
from jaxlab.training.mesh import seed_devices, spread_over_cores

TEACHER, BATCH = nets.Mlp(features=(64, 64), num_classes=10), 32


def learner(width: int, *, taught: bool = True) -> Learner:
    """A PLD step of a small student on digits, or a plain classifier's."""
    net = nets.Mlp(features=(width,), num_classes=10)
    example = jnp.zeros((1, 8, 8, 1))
    teacher = TEACHER.init(jax.random.key(5), example)

    def loss(params, memory, batch, step, key, context):
        student = net.apply(params, batch["image"])
        if taught:
            each = distillation.pld_loss(student, TEACHER.apply(teacher, batch["image"]), batch["label"])
        else:
            each = cross_entropy(student, batch["label"])
        return each.mean(), (memory, {})

    return gradient_learner(lambda key, context: (net.init(key, example), None), loss, optax.adam(1e-3))


def draw(train: data.Images, key: jax.Array) -> dict:
    """A batch of digits."""
    return data.draw(train, key, batch_size=BATCH)


def by_fit(
    method: Learner,
    train: data.Images,
    *,
    seeds: int,
    steps: int,
    chunk: int,
    mesh: dict[str, int] | None = None,
) -> float:
    """Seconds per step of `fit`, from the end of the first chunk to the end of the last."""
    moments = []
    plan = Plan(
        seeds=tuple(range(seeds)), log_every=chunk, eval_every=chunk, checkpoint_every=chunk, mesh=mesh or {}
    )
    fit(method, data={"train": train}, draw=draw, steps=steps, plan=plan,
        log=lambda row: moments.append(time.perf_counter()))  # fmt: skip
    return (moments[-1] - moments[0]) / (steps - chunk)


def by_hand(method: Learner, train: data.Images, *, seeds: int, steps: int, chunk: int) -> float:
    """The same steps as a scan that somebody wrote for this one purpose."""
    keys = [jnp.stack(part) for part in zip(*[seed_keys(np.uint32(seed), 0) for seed in range(seeds)])]
    states = jax.vmap(lambda key: method.init(key, {}))(keys[0])

    def one(state, data_key, update_key, start):
        def step(state, index):
            batch = draw(train, jax.random.fold_in(data_key, index))
            return method.update(state, batch, jax.random.fold_in(update_key, index), {})

        return jax.lax.scan(step, state, start + jnp.arange(chunk, dtype=jnp.uint32))

    run = jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None)), donate_argnums=0)
    moments = []
    for start in range(0, steps, chunk):
        states, trace = run(states, keys[1], keys[2], jnp.uint32(start))
        jax.block_until_ready(trace)
        moments.append(time.perf_counter())
    return (moments[-1] - moments[0]) / (steps - chunk)


def by_python(method: Learner, train: data.Images, *, steps: int) -> float:
    """One seed, a jitted step called from Python: how most training scripts are written."""
    init_key, data_key, update_key = seed_keys(np.uint32(0), 0)
    state = method.init(init_key, {})

    @jax.jit
    def step(state, index):
        batch = draw(train, jax.random.fold_in(data_key, index))
        return method.update(state, batch, jax.random.fold_in(update_key, index), {})

    state, _ = step(state, 0)
    jax.block_until_ready(state)
    began = time.perf_counter()
    for index in range(1, steps + 1):
        state, _ = step(state, index)
    jax.block_until_ready(state)
    return (time.perf_counter() - began) / steps


def compare(title: str, width: int, *, rounds: int, seeds: int, chunk: int) -> None:
    """`fit` against the hand-written scan."""
    train, method = data.split_images(data.digits(), seed=0)["train"], learner(width)
    sizes = {"seeds": seeds, "steps": 40 * chunk, "chunk": chunk}
    contenders = {
        "scan by hand": lambda: by_hand(method, train, **sizes),
        "fit": lambda: by_fit(method, train, **sizes),
    }
    report(title, alternate(contenders, rounds=rounds), base="scan by hand", unit="us/step", scale=1e6)


def compare_seeds(title: str, method: Learner, *, rounds: int) -> None:
    """64 seeds in one `fit` against one seed in a Python loop."""
    train = data.split_images(data.digits(), seed=0)["train"]
    sizes = {"seeds": 64, "steps": 1000, "chunk": 100}
    cores = {"seed": seed_devices(64)}
    contenders = {
        "python loop of jitted steps": lambda: by_python(method, train, steps=2000),
        "fit, 64 seeds on one core": lambda: by_fit(method, train, **sizes) / 64,
        f"fit, 64 seeds, mesh.seed={cores['seed']}": lambda: by_fit(method, train, **sizes, mesh=cores) / 64,
    }
    times = alternate(contenders, rounds=rounds)
    report(title, times, base="python loop of jitted steps", unit="us/seed-step", scale=1e6)


def main(rounds: int) -> None:
    """Print the comparisons."""
    compare("fit, 10 seeds, width 16", 16, rounds=rounds, seeds=10, chunk=100)
    compare("fit, 10 seeds, width 64", 64, rounds=rounds, seeds=10, chunk=100)
    compare_seeds("64 seeds at once, width 16, PLD with its teacher", learner(16), rounds=rounds)
    compare_seeds("64 seeds at once, width 16, plain classifier", learner(16, taught=False), rounds=rounds)


if __name__ == "__main__":
    spread_over_cores()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
