"""A self-supervised step, eight seeds of jaxlab against a plain PyTorch loop: augmentation, encoder, loss, optimizer.

`python -m benchmarks.ssl_step [rounds]`. Barlow Twins on two views of 256 images of 16 x 16 pixels, moved, turned,
scaled, changed in contrast, with noise and a hole; a convnet of 16 and 32 channels and a projector of 128 units. Time
is per seed and step. A PyTorch loop trains one seed at a time with both threads, ours eight of them over both cores.
Each has a process of its own. PyTorch comes with the extra `bench`.
"""

import math
from collections.abc import Callable
from typing import Any

from benchmarks import processes
from benchmarks.rounds import alternate, report

BATCH, STEPS, SEEDS, IMAGES, SIDE, WIDTH = 256, 20, 8, 4000, 16, 128
CHANNELS, LAMBDA = (16, 32), 0.015
SHIFT, TURN, SCALE, GAIN, NOISE, HOLE = 0.2, 45.0, 0.2, 0.3, 0.1, 4


def jax_side() -> tuple[dict[str, float], Callable[[], float]]:
    """Seconds per seed-step of `fit`, from the end of its first chunk to the end of its last."""
    import time

    import jax
    import optax

    from jaxlab import data, nets
    from jaxlab.core import gradient_learner
    from jaxlab.self_supervised import barlow_twins_loss
    from jaxlab.training import Plan, fit
    from jaxlab.training.mesh import seed_devices, spread_over_cores

    spread_over_cores()
    encoder = nets.ConvNet(channels=CHANNELS, num_classes=1)
    projector = nets.Mlp(features=(WIDTH,), num_classes=WIDTH)
    changes = {"shift": SHIFT, "rotate": TURN, "scale": SCALE, "gain": GAIN, "noise": NOISE, "hole": HOLE}
    train = data.Images(
        jax.random.uniform(jax.random.key(2), (IMAGES, SIDE, SIDE, 1)), jax.numpy.arange(IMAGES)
    )

    def init(key: jax.Array, context: Any) -> tuple[Any, None]:
        first, second = jax.random.split(key)
        (_, features), params = encoder.init_with_output(first, train.image[:1], return_features=True)
        return {"encoder": params, "projector": projector.init(second, features[-1])}, None

    def loss(params: Any, memory: Any, views: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        _, features = encoder.apply(
            params["encoder"], views.reshape(-1, *views.shape[2:]), return_features=True
        )
        outputs = projector.apply(params["projector"], features[-1]).reshape(2, -1, WIDTH)
        return barlow_twins_loss(*outputs, off_diagonal_weight=LAMBDA)[0], (memory, {})

    def draw(images: data.Images, key: jax.Array) -> jax.Array:
        batch = data.draw(images, key, batch_size=BATCH)
        return data.random_views(batch["image"], jax.random.fold_in(key, 1), count=2, **changes)

    def measure() -> float:
        moments: list[float] = []
        plan = Plan(
            seeds=tuple(range(SEEDS)), log_every=STEPS, eval_every=STEPS, checkpoint_every=STEPS, seeds_by="map",
            mesh={"seed": seed_devices(SEEDS)},
        )  # fmt: skip
        fit(gradient_learner(init, loss, optax.adamw(1e-3)), data={"train": train}, draw=draw, steps=3 * STEPS,
            plan=plan, log=lambda row: moments.append(time.perf_counter()))  # fmt: skip
        return (moments[-1] - moments[0]) / (2 * STEPS * SEEDS)

    return {}, measure


def torch_side() -> tuple[dict[str, float], Callable[[], float]]:
    """Seconds per step of a loop as PyTorch users write it."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(processes.THREADS)
    first, second = CHANNELS
    encoder = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    projector = nn.Sequential(nn.Linear(second * (SIDE // 4) ** 2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *projector.parameters()], lr=1e-3)
    train, pixel = torch.rand(IMAGES, 1, SIDE, SIDE), torch.arange(SIDE)

    def view(images: Any) -> Any:
        count = len(images)
        draw = lambda: 2 * torch.rand(count) - 1
        angle, size = math.radians(TURN) * draw(), torch.exp(SCALE * draw())
        cos, sin = size * torch.cos(angle), size * torch.sin(angle)
        turned = torch.stack([torch.stack([cos, -sin, 2 * SHIFT * draw()], 1),
                              torch.stack([sin, cos, 2 * SHIFT * draw()], 1)], 1)  # fmt: skip
        grid = F.affine_grid(turned, list(images.shape), align_corners=False)
        images = (
            F.grid_sample(images, grid, align_corners=False) * torch.exp(GAIN * draw())[:, None, None, None]
        )
        images = images + NOISE * torch.randn_like(images)
        start = torch.randint(0, SIDE, (2, count, 1)) - HOLE // 2
        down, right = (pixel >= start) & (pixel < start + HOLE)
        return images.masked_fill((down[:, :, None] & right[:, None])[:, None], 0.0)

    def step() -> None:
        images = train[torch.randint(0, IMAGES, (BATCH,))]
        z = projector(encoder(torch.cat([view(images), view(images)])))
        z1, z2 = ((part - part.mean(0)) / (part.var(0, unbiased=False) + 1e-5).sqrt() for part in z.chunk(2))
        matrix = z1.T @ z2 / BATCH
        own = (torch.diagonal(matrix) - 1).square().sum()
        loss = own + LAMBDA * (matrix.square().sum() - torch.diagonal(matrix).square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    return {}, processes.timed(step, times=2 * STEPS)


SIDES = {"PyTorch": torch_side, "jaxlab, 8 seeds": jax_side}


def main(rounds: int) -> None:
    """Print the comparison."""
    with processes.started("benchmarks.ssl_step", list(SIDES)) as contenders:
        times = alternate(contenders, rounds=rounds)
    report(f"Barlow Twins, two views of {BATCH}", times, base="PyTorch", unit="ms/seed-step", scale=1e3)


if __name__ == "__main__":
    processes.run("benchmarks.ssl_step", SIDES, main)
