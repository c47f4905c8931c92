"""Log-probabilities and reverse KL at a real vocabulary: chunks of it against whole `[B, T, V]` arrays.

`python -m benchmarks.token_log_probs [rounds]`. 4 x 1,024 tokens, hidden size 896, 151,936 tokens, the embedding as
output matrix (Qwen2.5-0.5B): value and gradient with respect to hidden vectors and matrix, time and memory. Every
form has a process of its own, so that its peak is its own; what does not fit in this machine is not started.
"""

import functools
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import processes
from benchmarks.rounds import alternate, report

ROWS, LENGTH, WIDTH, VOCABULARY = 4, 1024, 896, 151_936
GIB = 2**30


def _inputs(kind: str) -> tuple[Any, ...]:
    """Hidden vectors, matrix, and tokens or the teacher's vectors and matrix."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 5)
    draw = lambda key, *shape, scale: scale * jax.random.normal(key, shape)
    hidden, embed = (
        draw(keys[0], ROWS, LENGTH, WIDTH, scale=1.0),
        draw(keys[1], VOCABULARY, WIDTH, scale=0.05),
    )
    if kind == "log p":
        return hidden, embed, jax.random.randint(keys[2], (ROWS, LENGTH), 0, VOCABULARY)
    teacher = draw(keys[3], ROWS, LENGTH, WIDTH, scale=1.0), draw(keys[4], VOCABULARY, WIDTH, scale=0.05)
    return hidden, embed, *(jnp.asarray(x) for x in teacher)


def _loss(kind: str, form: str) -> Callable[..., Any]:
    """Mean over the tokens, in chunks or whole."""
    import jax
    import jax.numpy as jnp

    from jaxlab.language import token_divergence, token_log_probs

    def whole_log_prob(hidden: jax.Array, embed: jax.Array, tokens: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(hidden @ embed.T, axis=-1)
        return jnp.take_along_axis(log_p, tokens[..., None], axis=-1)[..., 0]

    def whole_kl(hidden: jax.Array, embed: jax.Array, of_teacher: jax.Array, teacher: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(hidden @ embed.T, axis=-1)
        log_q = jax.nn.log_softmax(jax.lax.stop_gradient(of_teacher @ teacher.T), axis=-1)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)

    def chunked_kl(
        hidden: jax.Array, embed: jax.Array, of_teacher: jax.Array, teacher: jax.Array
    ) -> jax.Array:
        return token_divergence(hidden, embed.T, of_teacher, teacher.T, kind="reverse_kl")

    of_token = {
        ("log p", "whole"): whole_log_prob,
        ("log p", "jaxlab"): lambda hidden, embed, tokens: token_log_probs(hidden, embed.T, tokens),
        ("reverse KL", "whole"): whole_kl,
        ("reverse KL", "jaxlab"): chunked_kl,
    }[kind, form]
    return lambda *inputs: jnp.mean(of_token(*inputs))


def side(kind: str, form: str) -> tuple[dict[str, float], Callable[[], float]]:
    """One value and gradient; the facts hold what memory it takes by plan."""
    import jax
    import psutil

    inputs = jax.block_until_ready(_inputs(kind))
    step = jax.jit(jax.value_and_grad(_loss(kind, form), argnums=(0, 1))).lower(*inputs).compile()
    plan = step.memory_analysis()
    needed = plan.temp_size_in_bytes + plan.output_size_in_bytes
    facts = {
        "temp_GiB": plan.temp_size_in_bytes / GIB,
        "fits": needed < 0.9 * psutil.virtual_memory().available,
    }
    if not facts["fits"]:
        return facts, lambda: float("nan")
    facts["inputs_GiB"] = psutil.Process().memory_info().rss / GIB
    value, grads = jax.block_until_ready(step(*inputs))
    facts["value"] = float(value)
    facts["gradient_norm"] = float(np.sqrt(sum(np.vdot(g, g) for g in map(np.asarray, grads))))
    del grads
    facts["peak_GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return facts, processes.timed(lambda: jax.block_until_ready(step(*inputs)))


SIDES = {f"{kind}: {form}": functools.partial(side, kind, form)
         for kind in ("log p", "reverse KL") for form in ("whole", "jaxlab")}  # fmt: skip


def main(rounds: int) -> None:
    """Print time and memory of both forms."""
    for kind in ("log p", "reverse KL"):
        names = [name for name in SIDES if name.startswith(kind)]
        with processes.started("benchmarks.token_log_probs", names) as contenders:
            facts = {name: contender.facts for name, contender in contenders.items()}
            times = alternate(contenders, rounds=rounds)
        for name, fact in facts.items():
            print(name, ", ".join(f"{key} {value:.6g}" for key, value in fact.items()))
        base, ours = names
        if not facts[base]["fits"]:
            print(f"{base} needs {facts[base]['temp_GiB']:.1f} GiB and was not run")
            times, base = {ours: times[ours]}, ours
        elif not np.isclose(facts[base]["gradient_norm"], facts[ours]["gradient_norm"], rtol=1e-3):
            sys.exit("the gradients differ: they do not do the same work")
        tokens = f"{ROWS * LENGTH:,} tokens of {VOCABULARY:,}, load {os.getloadavg()[0]:.1f}"
        report(f"{kind}, value and gradient, {tokens}", times, base=base, unit="s", scale=1.0)


if __name__ == "__main__":
    processes.run("benchmarks.token_log_probs", SIDES, main)
