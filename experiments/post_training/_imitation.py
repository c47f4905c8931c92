"""Supervised stages: a policy's start, a teacher, and the arm that imitates a teacher's own samples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from jaxlab.core import Learner, gradient_learner, masked_mean, masked_sum
from jaxlab.language import Decoder, completion_hidden, output_matrix, sample, token_log_probs
from jaxlab.language.tasks import GUIDANCE, Task
from jaxlab.post_training import adcl_egsr, aggregate


def _log_probs(model: Decoder, params: Any, problems: Any, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    hidden = completion_hidden(model, params, problems.prompts, problems.prompt_mask, tokens, mask)
    return token_log_probs(hidden, output_matrix(params), tokens)


def demonstrated(
    model: Decoder, task: Task, spec: ConfigDict, problems_of: Callable[[jax.Array, int], Any], optimizer: Any
) -> Learner:
    """Maximum likelihood of demonstrations, fresh in every step, a share `spec.noise` of them wrong.

    A share `spec.hints` of the prompts, where there is one, has a hint behind it, in the style `spec.hint_style`. The
    metric `success` is the probability of a demonstration without one: how often a policy is right where one answer is.
    """
    hinted = round(spec.get("hints", 0.0) * spec.batch_size)
    plain = jnp.arange(spec.batch_size) >= hinted

    def loss(params: Any, memory: None, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        problems = problems_of(jax.random.fold_in(key, 0), spec.batch_size)
        tokens, mask = task.demonstrate(jax.random.fold_in(key, 1), problems, noise=spec.noise)
        if hinted:
            problems = _with_hints(task, spec, problems, jax.random.fold_in(key, 2), ~plain)
        log_probs = _log_probs(model, params, problems, tokens, mask)
        success = masked_mean(jnp.exp(masked_sum(log_probs, where=mask, axis=1)), where=plain)
        return -aggregate(log_probs, mask), (memory, {"success": jax.lax.stop_gradient(success)})

    return gradient_learner(lambda key, context: (model.init(key), None), loss, optimizer)


def _with_hints(task: Any, spec: ConfigDict, problems: Any, key: jax.Array, hinted: jax.Array) -> Any:
    """Hints of all kinds behind some of the prompts."""
    kinds = [task.guidance(problems, kind, spec.hint_style) for kind in GUIDANCE]
    chosen = jax.random.randint(key, hinted.shape, 0, len(kinds))
    tokens, mask = (jnp.stack(parts)[chosen, jnp.arange(len(chosen))] for parts in zip(*kinds))
    prompts, prompt_mask = adcl_egsr.guided_prompts(
        problems.prompts, problems.prompt_mask, tokens, mask & hinted[:, None]
    )
    return problems._replace(prompts=prompts, prompt_mask=prompt_mask)


def sampled_from_teacher(
    model: Decoder,
    teacher: Decoder,
    *,
    policy: Callable[[Any], Any],
    teacher_params: Callable[[Any], Any],
    optimizer: optax.GradientTransformation,
    num_samples: int,
    max_new_tokens: int,
    eos: int | Sequence[int],
) -> Learner:
    """Sequence-level distillation: maximum likelihood of what the teacher writes for the same prompts."""

    def loss(params: Any, memory: None, problems: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        out = sample(
            teacher, teacher_params(context), problems.prompts, problems.prompt_mask, key, num_samples=num_samples,
            max_new_tokens=max_new_tokens, eos=eos, stop_early=False,
        )  # fmt: skip
        out = jax.lax.stop_gradient(out)
        length = jnp.mean(jnp.sum(out.mask, 1))
        log_probs = _log_probs(model, params, problems, out.tokens, out.mask)
        return -aggregate(log_probs, out.mask), (memory, {"length": length})

    return gradient_learner(lambda key, context: (policy(context), None), loss, optimizer)
