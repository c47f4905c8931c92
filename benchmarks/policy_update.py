"""One GRPO update: eight completions of 192 tokens of one prompt of 64, KL to a reference in the loss, clipping, AdamW.

`python -m benchmarks.policy_update [rounds]`. The contenders see the same tokens and the same weights: TRL's own loss,
the same mathematics in plain PyTorch, and jaxlab twice, once with the prompt computed for every completion as the peers
do, and once with the prompt shared, which is what its users get. Losses and gradient norms must agree before anything
is timed.
"""

import functools
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peer_models, processes
from benchmarks.rounds import alternate, report

PROMPT, COMPLETION, GROUP, STEPS = 64, 192, 8, 3
BETA, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY = 0.04, 1e-6, 1.0, 0.01


class Batch(NamedTuple):
    """What an update sees: a prompt, its completions, and the reference's opinion of them."""

    prompt: np.ndarray
    tokens: np.ndarray
    mask: np.ndarray
    advantage: np.ndarray
    reference: np.ndarray


def make_batch(*, full: bool) -> Batch:
    """Random tokens; the reference is near the uniform distribution that an untrained policy has."""
    rng, vocabulary = np.random.default_rng(0), peer_models.SHAPES["small"]["vocab_size"]
    lengths = np.linspace(COMPLETION if full else COMPLETION // 2, COMPLETION, GROUP).round()
    reference = -np.log(vocabulary) + 0.5 * rng.standard_normal((GROUP, COMPLETION))
    return Batch(
        prompt=rng.integers(2, vocabulary, (1, PROMPT)),
        tokens=rng.integers(2, vocabulary, (GROUP, COMPLETION)),
        mask=np.arange(COMPLETION) < lengths[:, None],
        advantage=rng.standard_normal(GROUP).astype(np.float32),
        reference=reference.astype(np.float32),
    )


def jaxlab_side(folder: str, *, shared: bool) -> tuple[dict[str, float], Callable[[], float]]:
    """Losses put together as a user would, the update jitted and the state donated."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxlab.language import completion_hidden, output_matrix, token_log_probs
    from jaxlab.post_training import aggregate, kl_estimate, ppo_clip_loss, token_importance_ratio

    model, params = peer_models.jax_model(folder)
    ragged, full = (jax.tree.map(jnp.asarray, make_batch(full=full)) for full in (False, True))
    prompts = full.prompt if shared else jnp.repeat(full.prompt, GROUP, axis=0)
    optimizer = optax.chain(
        optax.clip_by_global_norm(MAX_NORM), optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    )

    def objective(params: Any, prompts: jax.Array, batch: Batch) -> jax.Array:
        seen = jnp.ones(prompts.shape, bool)
        hidden = completion_hidden(model, params, prompts, seen, batch.tokens, batch.mask)
        log_probs = token_log_probs(hidden, output_matrix(params), batch.tokens)
        ratio = token_importance_ratio(log_probs, jax.lax.stop_gradient(log_probs), where=batch.mask)
        loss = ppo_clip_loss(ratio, batch.advantage, where=batch.mask)
        loss = loss + BETA * kl_estimate(log_probs, batch.reference, where=batch.mask, kind="k3")
        return aggregate(loss, batch.mask, mode="seq-mean-token-mean")

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, prompts: jax.Array, batch: Batch) -> Any:
        params, opt_state = state
        loss, grads = jax.value_and_grad(objective)(params, prompts, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), (loss, optax.global_norm(grads))

    state = (params, optimizer.init(params))
    state, (loss, norm) = step(state, prompts, ragged)

    def run() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(step(state, prompts, full))

    run()
    return {"loss": float(loss), "gradient_norm": float(norm)}, processes.timed(run, times=STEPS)


def _torch_update(
    model: Any, loss_of: Callable[[Batch, Any], Any]
) -> tuple[dict[str, float], Callable[[], float]]:
    """Backward, clipping and the fused optimizer around a loss of the batch and the prompt repeated."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    ragged, full = (Batch(*map(torch.from_numpy, make_batch(full=full))) for full in (False, True))

    def step(batch: Batch) -> tuple[float, float]:
        loss = loss_of(batch, batch.prompt.repeat(GROUP, 1))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        return loss.item(), norm.item()

    loss, norm = step(ragged)
    step(full)
    return {"loss": loss, "gradient_norm": norm}, processes.timed(lambda: step(full), times=STEPS)


def trl_side(folder: str) -> tuple[dict[str, float], Callable[[], float]]:
    """`GRPOTrainer._compute_loss` on the batch."""
    trainer = peer_models.grpo_trainer(
        folder, prompts=["2 3"] * GROUP, reward=lambda completions, **_: [0.0] * len(completions), beta=BETA,
        loss_type="grpo", num_generations=GROUP, per_device_train_batch_size=GROUP,
        max_completion_length=COMPLETION, use_bias_correction_kl=False,
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    model = trainer.model.train()

    def loss_of(batch: Batch, prompts: Any) -> Any:
        inputs = {
            "prompt_ids": prompts, "prompt_mask": prompts.new_ones(prompts.shape),
            "completion_ids": batch.tokens, "completion_mask": batch.mask.long(),
            "advantages": batch.advantage, "ref_per_token_logps": batch.reference,
            "num_items_in_batch": batch.mask.sum(),
        }  # fmt: skip
        return trainer._compute_loss(model, inputs)

    return _torch_update(model, loss_of)


def torch_side(folder: str) -> tuple[dict[str, float], Callable[[], float]]:
    """The same mathematics without a trainer; logits of completions only."""
    import torch

    model = peer_models.torch_model(folder).train()

    def loss_of(batch: Batch, prompts: Any) -> Any:
        ids = torch.cat([prompts, batch.tokens], dim=1)
        seen = torch.cat([torch.ones_like(prompts), batch.mask.long()], dim=1)
        logits = model(input_ids=ids, attention_mask=seen, logits_to_keep=COMPLETION + 1).logits[:, :-1]
        log_probs = logits.gather(-1, batch.tokens[..., None]).squeeze(-1) - logits.logsumexp(-1)
        ratio, advantage = torch.exp(log_probs - log_probs.detach()), batch.advantage[:, None]
        loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        difference = batch.reference - log_probs
        loss = loss + BETA * (torch.expm1(difference) - difference)
        return ((loss * batch.mask).sum(-1) / batch.mask.sum(-1)).mean()

    return _torch_update(model, loss_of)


SIDES = {
    "TRL": trl_side,
    "plain torch": torch_side,
    "jaxlab": functools.partial(jaxlab_side, shared=False),
    "jaxlab, shared prompt": functools.partial(jaxlab_side, shared=True),
}


def main(rounds: int) -> None:
    """Check that all compute the same, then print the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        peer_models.write_model(folder, "small")
        with processes.started("benchmarks.policy_update", list(SIDES), [folder]) as contenders:
            processes.agree(contenders, "loss", tolerance=1e-5)
            processes.agree(contenders, "gradient_norm", tolerance=1e-4)
            times = alternate(contenders, rounds=rounds)
    report(
        f"GRPO update, {GROUP} x ({PROMPT} + {COMPLETION}) tokens",
        times,
        base="TRL",
        unit="ms/update",
        scale=1e3,
    )
    report("the same", times, base="plain torch", unit="ms/update", scale=1e3)


if __name__ == "__main__":
    processes.run("benchmarks.policy_update", SIDES, main)
