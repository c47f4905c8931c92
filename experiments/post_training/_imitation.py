"""Supervised stages: a policy's start, a teacher, and the arm that imitates a teacher's own samples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from jaxlab.core import Learner, gradient_learner, masked_sum
from jaxlab.language import Decoder, completion_hidden, output_matrix, sample, token_log_probs
from jaxlab.language.tasks import Task
from jaxlab.post_training import aggregate


def _log_probs(model: Decoder, params: Any, problems: Any, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    hidden = completion_hidden(model, params, problems.prompts, problems.prompt_mask, tokens, mask)
    return token_log_probs(hidden, output_matrix(params), tokens)


def demonstrated(
    model: Decoder, task: Task, spec: ConfigDict, problems_of: Callable[[jax.Array, int], Any], optimizer: Any
) -> Learner:
    """Maximum likelihood of demonstrations, fresh in every step, a share `spec.noise` of them wrong.

    Its metric `success` is the probability of a demonstration: how often a policy is right where one answer is.
    """

    def loss(params: Any, memory: None, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        problems = problems_of(jax.random.fold_in(key, 0), spec.batch_size)
        tokens, mask = task.demonstrate(jax.random.fold_in(key, 1), problems, noise=spec.noise)
        log_probs = _log_probs(model, params, problems, tokens, mask)
        success = jnp.mean(jnp.exp(masked_sum(log_probs, where=mask, axis=1)))
        return -aggregate(log_probs, mask), (memory, {"success": jax.lax.stop_gradient(success)})

    return gradient_learner(lambda key, context: (model.init(key), None), loss, optimizer)


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
