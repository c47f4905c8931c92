"""A convnet KD step, jaxlab against a plain PyTorch loop: the same shapes, the same work, turns taken in turn.

`python -m benchmarks.convnet [rounds]`. Each side runs in a process of its own, since their thread pools disturb each
other. PyTorch comes with the extra `bench`; TORCH_PYTHON names another interpreter that has it.
"""

import os
import subprocess
import sys
import time

BATCH, STEPS, CHANNELS, TEMPERATURE = 64, 60, (16, 32), 4.0


def jax_side() -> float:
    """Seconds per step of `fit` with one seed."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxlab import data, distillation, nets
    from jaxlab.core import cross_entropy, gradient_learner
    from jaxlab.training import Plan, fit

    net, teacher_net = (nets.ConvNet(channels=CHANNELS, num_classes=10) for _ in range(2))
    example = jnp.zeros((1, 28, 28, 1))
    teacher = jax.jit(teacher_net.init)(jax.random.key(1), example)

    def loss(params, memory, batch, step, key, context):
        logits, soft = net.apply(params, batch["image"]), teacher_net.apply(context, batch["image"])
        kd = distillation.kd_loss(logits, soft, temperature=TEMPERATURE).mean()
        return 0.9 * kd + 0.1 * cross_entropy(logits, batch["label"]).mean(), (memory, {})

    learner = gradient_learner(lambda key, context: (net.init(key, example), None), loss, optax.adam(1e-3))
    train = data.Images(jax.random.uniform(jax.random.key(2), (4096, 28, 28, 1)), jnp.arange(4096) % 10)
    moments: list[float] = []
    plan = Plan(
        seeds=(0,), log_every=STEPS // 3, eval_every=STEPS // 3, checkpoint_every=STEPS // 3, seeds_by="map"
    )
    fit(
        learner,
        data={"train": train},
        draw=lambda images, key: data.draw(images, key, batch_size=BATCH),
        steps=STEPS,
        plan=plan,
        context=jax.tree.map(lambda x: x[None], teacher),
        log=lambda row: moments.append(time.perf_counter()),
    )
    return (moments[-1] - moments[0]) / (STEPS - STEPS // 3)


def torch_side() -> float:
    """Seconds per step of a loop as PyTorch users write it."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)

    def make() -> nn.Module:
        first, second = CHANNELS
        return nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(second * 49, 10),
        )  # fmt: skip

    net, teacher = make(), make().eval()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    images, labels = torch.rand(4096, 1, 28, 28), torch.arange(4096) % 10

    def step() -> None:
        rows = torch.randint(0, len(images), (BATCH,))
        logits = net(images[rows])
        with torch.no_grad():
            soft = teacher(images[rows])
        kd = F.kl_div(
            F.log_softmax(logits / TEMPERATURE, 1), F.log_softmax(soft / TEMPERATURE, 1),
            reduction="batchmean", log_target=True,
        )  # fmt: skip
        loss = 0.9 * TEMPERATURE**2 * kd + 0.1 * F.cross_entropy(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(STEPS // 3):
        step()
    began = time.perf_counter()
    for _ in range(STEPS - STEPS // 3):
        step()
    return (time.perf_counter() - began) / (STEPS - STEPS // 3)


def in_process(side: str) -> float:
    """Run one side alone."""
    python = os.environ.get("TORCH_PYTHON", sys.executable) if side == "torch" else sys.executable
    done = subprocess.run(
        [python, __file__, side], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    if done.returncode:
        sys.exit(f"{side}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def main(rounds: int) -> None:
    """Print the comparison."""
    from benchmarks.rounds import alternate, report

    times = alternate(
        {"torch": lambda: in_process("torch"), "jaxlab": lambda: in_process("jax")}, rounds=rounds
    )
    report(
        f"convnet {CHANNELS} KD step, 28 x 28, batch {BATCH}", times, base="torch", unit="ms/step", scale=1e3
    )
    print(
        f"  jaxlab takes {1 / (times['jaxlab'] / times['torch']).mean():.2f} x fewer seconds per step (mean of rounds)"
    )


if __name__ == "__main__":
    sides = {"jax": jax_side, "torch": torch_side}
    if sys.argv[1:2] and sys.argv[1] in sides:
        print(sides[sys.argv[1]]())
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
