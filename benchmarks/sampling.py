"""Sampling with a cache: `jaxlab.language.sample` against `generate` of transformers, same weights.

`python -m benchmarks.sampling [rounds]`. 16 prompts of 16 tokens, 128 new ones each, temperature 1, no filter, no end.
jaxlab takes part three times: with the rows split over one device per core, as the command line sets a CPU up, on one
device that uses both cores, and so with a loop that may stop early. All have two threads.
"""

import functools
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peer_models, processes
from benchmarks.rounds import alternate, report

BATCH, PROMPT, NEW, GREEDY, VOCABULARY = 16, 16, 128, 8, peer_models.SHAPES["small"]["vocab_size"]
PROMPTS = np.random.default_rng(0).integers(2, VOCABULARY, (BATCH, PROMPT))


def jaxlab_side(
    folder: str, *, stop_early: bool, per_core: bool = False
) -> tuple[dict[str, Any], Callable[[], float]]:
    """`sample` as one compiled call; the end is an id that is never drawn."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from jaxlab.language import sample
    from jaxlab.training.mesh import put

    mesh = peer_models.jax_mesh(per_core=per_core)
    model, params = peer_models.jax_model(folder)
    params = put(params, NamedSharding(mesh, P()))
    prompts = put(np.asarray(PROMPTS, np.int32), NamedSharding(mesh, P("data")))
    call = functools.partial(sample, model, eos=VOCABULARY)
    run = jax.jit(
        lambda params, prompts, key: call(
            params, prompts, jnp.ones(prompts.shape, bool), key, max_new_tokens=NEW, stop_early=stop_early
        )
    )
    greedy = jax.jit(
        lambda params, prompts, key: call(
            params, prompts, jnp.ones(prompts.shape, bool), key, max_new_tokens=GREEDY, temperature=0.0
        )
    )
    tokens = greedy(params, prompts, jax.random.key(0)).tokens
    keys = map(jax.random.key, range(10**9))
    warm = run(params, prompts, next(keys))
    assert bool(warm.mask.all())
    return {"greedy": tokens.tolist()}, processes.timed(
        lambda: jax.block_until_ready(run(params, prompts, next(keys))), times=3
    )


def transformers_side(folder: str) -> tuple[dict[str, Any], Callable[[], float]]:
    """`generate` with its own cache."""
    import torch

    model, prompts = peer_models.torch_model(folder).eval(), torch.from_numpy(PROMPTS)

    def generate(new: int, **how: Any) -> Any:
        with torch.inference_mode():
            out = model.generate(
                prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=new, eos_token_id=None,
                pad_token_id=0, use_cache=True, **how,
            )  # fmt: skip
        assert out.shape == (BATCH, PROMPT + new)
        return out[:, PROMPT:]

    run = functools.partial(generate, NEW, do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
    facts = {"greedy": generate(GREEDY, do_sample=False).tolist()}
    run()
    return facts, processes.timed(run)


SIDES = {
    "transformers": transformers_side,
    "jaxlab, a device per core": functools.partial(jaxlab_side, stop_early=False, per_core=True),
    "jaxlab": functools.partial(jaxlab_side, stop_early=False),
    "jaxlab, stop_early": functools.partial(jaxlab_side, stop_early=True),
}


def main(rounds: int) -> None:
    """Print the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        peer_models.write_model(folder, "small")
        with processes.started("benchmarks.sampling", list(SIDES), [folder]) as contenders:
            if len({str(contender.facts["greedy"]) for contender in contenders.values()}) > 1:
                sys.exit("greedy completions differ: the models are not the same")
            times = alternate(contenders, rounds=rounds)
    report(f"{BATCH} x {NEW} tokens", times, base="transformers", unit="s", scale=1.0)
    for name, seconds in times.items():
        speed, ratios = BATCH * NEW / seconds, times["transformers"] / seconds
        print(
            f"  {name:28} {np.median(speed):7,.0f} tokens/s (best {speed.max():,.0f}),"
            f" x {np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}] of transformers"
        )


if __name__ == "__main__":
    processes.run("benchmarks.sampling", SIDES, main)
