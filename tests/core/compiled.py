"""The functions of the room under jit: run eagerly, every primitive compiles alone and the tests take minutes.

`test_transforms` checks that eager and compiled agree.
"""

import inspect

import jax

from jaxlab import core

STATIC = {"axis", "axis_name", "beta", "ddof", "eps", "keepdims", "num_classes"}


def compiled(f):
    return jax.jit(f, static_argnames=STATIC & set(inspect.signature(f).parameters))


def grad(f, argnums=0):
    return jax.jit(jax.grad(f, argnums))


def value_and_grad(f, argnums=0):
    return jax.jit(jax.value_and_grad(f, argnums))


bank_update = jax.jit(core.bank_update, static_argnames="decay")
class_means = compiled(core.class_means)
cosine_similarity = compiled(core.cosine_similarity)
cross_entropy = compiled(core.cross_entropy)
entropy = compiled(core.entropy)
forward_kl = compiled(core.forward_kl)
jsd = compiled(core.jsd)
masked_log_softmax = compiled(core.masked_log_softmax)
masked_logsumexp = compiled(core.masked_logsumexp)
masked_max = compiled(core.masked_max)
masked_mean = compiled(core.masked_mean)
masked_softmax = compiled(core.masked_softmax)
masked_std = compiled(core.masked_std)
masked_sum = compiled(core.masked_sum)
masked_var = compiled(core.masked_var)
normalize = compiled(core.normalize)
pearson = compiled(core.pearson)
prototype_logits = compiled(core.prototype_logits)
queue_push = compiled(core.queue_push)
reverse_kl = compiled(core.reverse_kl)
total_variation = compiled(core.total_variation)
