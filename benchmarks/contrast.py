"""NT-Xent of a large batch: anchors in chunks against all at once, value and gradient, time and memory.

`python -m benchmarks.contrast [rounds]`. 4,096 examples in two views, vectors of 128 numbers. Every form has a process
of its own, so that its peak is its own.
"""

import functools
import os
import resource
from collections.abc import Callable

import numpy as np

from benchmarks import processes
from benchmarks.rounds import alternate, report

EXAMPLES, WIDTH, MIB = 4096, 128, 2**20


def side(chunk: int | None) -> tuple[dict[str, float], Callable[[], float]]:
    """One value and gradient; the facts hold the memory that XLA plans and by how much the process grew."""
    import jax

    from jaxlab.core import nt_xent

    views = jax.random.normal(jax.random.key(0), (2, EXAMPLES, WIDTH))
    loss = lambda views: nt_xent(*views, temperature=0.2, chunk=chunk).mean()
    step = jax.jit(jax.value_and_grad(loss)).lower(views).compile()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value, gradient = jax.block_until_ready(step(views))
    facts = {
        "temp_MiB": step.memory_analysis().temp_size_in_bytes / MIB,
        "grew_MiB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "value": float(value),
        "gradient_norm": float(np.linalg.norm(gradient)),
    }
    return facts, processes.timed(lambda: jax.block_until_ready(step(views)))


SIDES = {"all at once": functools.partial(side, None)} | {
    f"chunks of {chunk}": functools.partial(side, chunk) for chunk in (128, 512)
}


def main(rounds: int) -> None:
    """Print time and memory of all forms."""
    with processes.started("benchmarks.contrast", list(SIDES)) as contenders:
        for name, contender in contenders.items():
            print(name, ", ".join(f"{key} {value:.6g}" for key, value in contender.facts.items()))
        for fact in ("value", "gradient_norm"):
            processes.agree(contenders, fact, tolerance=1e-4)
        times = alternate(contenders, rounds=rounds)
    title = f"NT-Xent of 2 x {EXAMPLES:,}, value and gradient, {os.cpu_count()} cores"
    report(title, times, base=next(iter(SIDES)), unit="s", scale=1.0)


if __name__ == "__main__":
    processes.run("benchmarks.contrast", SIDES, main)
