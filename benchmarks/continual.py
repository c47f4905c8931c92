"""Experience replay on five tasks of split digits: eight seeds of `fit` against plain PyTorch, one seed after another.

Same network, memory, batches and rate; the accuracies of both are printed, for a fast loop that learns nothing would
be no rival. Then memory: what a state takes, and what the process has at most, as buffer and tasks grow.

`python -m benchmarks.continual [rounds]` (extra `bench`)
"""

import functools
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.rounds import alternate, report
from jaxlab import continual, data, nets
from jaxlab.core import Learner, cross_entropy, gradient_learner, masked_mean
from jaxlab.metrics import accuracy
from jaxlab.training import Plan, fit
from jaxlab.training.mesh import seed_devices, spread_over_cores

SEEDS, BATCH, REPLAY, BUFFER, RATE, PASSES = 8, 10, 10, 100, 0.1, 5
CHUNK = 70  # steps, half of a task
NET = nets.Mlp(features=(100, 100), num_classes=10)


def learner(buffer: int) -> Learner:
    """Experience replay from the library's parts."""
    row = {"image": jnp.zeros((8, 8, 1)), "label": jnp.int32(0)}

    def init(key, context):
        return NET.init(key, row["image"][None]), continual.reservoir_init(buffer, row)

    def loss(params, memory, batch, step, key, context):
        draw_key, insert_key = jax.random.split(key)
        drawn, valid = continual.reservoir_draw(memory, draw_key, batch_size=REPLAY)
        new = {name: batch[name] for name in row}
        both = {name: jnp.concatenate([new[name], drawn[name]]) for name in row}
        losses = cross_entropy(NET.apply(params, both["image"]), both["label"])
        value = masked_mean(losses, where=jnp.concatenate([batch["where"], valid]))
        return value, (continual.reservoir_insert(memory, new, insert_key, where=batch["where"]), {})

    return gradient_learner(init, loss, optax.sgd(RATE))


def sets(num_tasks: int = 5) -> tuple[data.TaskStream, data.Images, int]:
    """The stream, the test images, and the steps of a task."""
    parts = data.split_images(data.digits(), seed=0)
    stream = data.split_classes(parts["train"], num_tasks)
    return stream, parts["test"], data.task_steps(stream, batch_size=BATCH, passes=PASSES, multiple_of=CHUNK)


def evaluate(state, split, context):
    """Accuracy on all classes."""
    return {"accuracy": accuracy(NET.apply(state.params, split.image), split.label)}


def by_fit(scores: dict[str, float], *, buffer: int = BUFFER, num_tasks: int = 5) -> float:
    """Seconds per seed of a whole run, without what compiling takes."""
    stream, test, steps = sets(num_tasks)
    batches = functools.partial(data.task_batch, batch_size=BATCH, steps_per_task=steps, passes=PASSES)
    moments = []
    plan = Plan(
        seeds=tuple(range(SEEDS)),
        log_every=CHUNK,
        eval_every=steps,
        checkpoint_every=steps,
        mesh={"seed": seed_devices(SEEDS)},
    )
    done = fit(
        learner(buffer), data={"train": stream, "test": test}, stream=batches, steps=num_tasks * steps,
        plan=plan, evaluate=evaluate, along=(), log=lambda row: moments.append(time.perf_counter()),
    )  # fmt: skip
    scores["fit, 8 seeds"] = float(np.mean(done.final["test/accuracy"]))
    # The first chunk compiles, and so does the evaluation after the last; those between are as long.
    chunk = (moments[-2] - moments[0]) / (len(moments) - 2)
    return chunk * len(moments) / SEEDS


def by_torch(scores: dict[str, float]) -> float:
    """Seconds of one seed as a Python loop over the same batches, a reservoir beside it."""
    import torch

    stream, test, steps = sets()
    one = jax.jit(functools.partial(data.task_batch, batch_size=BATCH, steps_per_task=steps, passes=PASSES))
    batches = [jax.device_get(one(stream, jax.random.key(0), step)) for step in range(5 * steps)]
    rows = [batch["where"] for batch in batches]
    images = [torch.tensor(batch["image"].reshape(BATCH, -1)[keep]) for batch, keep in zip(batches, rows)]
    labels = [torch.tensor(batch["label"][keep]).long() for batch, keep in zip(batches, rows)]
    torch.set_num_threads(1)  # a net this small is fastest on one
    layers = torch.nn.Linear(64, 100), torch.nn.Linear(100, 100), torch.nn.Linear(100, 10)
    start = NET.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    with torch.no_grad():
        for layer, name in zip(layers, ("Dense_0", "Dense_1", "classifier")):
            layer.weight.copy_(torch.tensor(np.asarray(start[name]["kernel"]).T))
            layer.bias.copy_(torch.tensor(np.asarray(start[name]["bias"])))
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    kept_images, kept_labels = torch.zeros(BUFFER, 64), torch.zeros(BUFFER, dtype=torch.long)
    rng, seen = np.random.default_rng(0), 0
    began = time.perf_counter()
    for image, label in zip(images, labels):
        x, y = image, label
        if seen:
            held = min(seen, BUFFER)
            chosen = torch.as_tensor(rng.choice(held, min(REPLAY, held), replace=False))
            x, y = torch.cat([x, kept_images[chosen]]), torch.cat([y, kept_labels[chosen]])
        optimizer.zero_grad()
        if len(y):
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        for row in range(len(label)):
            slot = seen if seen < BUFFER else int(rng.integers(0, seen + 1))
            if slot < BUFFER:
                kept_images[slot], kept_labels[slot] = image[row], label[row]
            seen += 1
    took = time.perf_counter() - began
    with torch.no_grad():
        guess = net(torch.tensor(np.asarray(test.image).reshape(-1, 64))).argmax(1).numpy()
    scores["plain PyTorch, one seed"] = float(np.mean(guess == np.asarray(test.label)))
    return took


def memory() -> None:
    """What a state takes, and the most that the process has had, as buffer and tasks grow."""
    print("\nmemory (resident: the most so far)")
    for buffer, num_tasks in ((100, 2), (100, 5), (100, 10), (1_000, 5), (10_000, 5), (100_000, 5)):
        by_fit({}, buffer=buffer, num_tasks=num_tasks)
        state = jax.eval_shape(learner(buffer).init, jax.random.key(0), {})
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) / 2**20
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(
            f"  buffer {buffer:7,d}  tasks {num_tasks:2d}  state {held:8.2f} MiB a seed  resident {resident:8.0f} MiB"
        )


def main(rounds: int) -> None:
    """Print both comparisons."""
    scores: dict[str, float] = {}
    contenders = {"plain PyTorch, one seed": by_torch, "fit, 8 seeds": by_fit}
    times = alternate(
        {name: functools.partial(measure, scores) for name, measure in contenders.items()}, rounds=rounds
    )
    base = "plain PyTorch, one seed"
    report("five tasks of split digits, experience replay", times, base=base, unit="ms/seed", scale=1e3)
    print("  accuracy: " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    memory()


if __name__ == "__main__":
    spread_over_cores()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
