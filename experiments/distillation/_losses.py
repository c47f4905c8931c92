"""Losses by name: on the logits of student and teacher, and on what their classifiers read."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxlab import distillation
from jaxlab.core import cross_entropy, jsd, reverse_kl

LOSSES: dict[str, Callable] = {
    "ce": lambda student, teacher, labels: cross_entropy(student, labels),
    "kd": lambda student, teacher, labels, **hyper: distillation.kd_loss(student, teacher, **hyper),
    "smoothing": lambda student, teacher, labels, alpha: optax.losses.softmax_cross_entropy(
        student, optax.losses.smooth_labels(jax.nn.one_hot(labels, student.shape[-1]), alpha)
    ),
    "reverse_kl": lambda student, teacher, labels, **hyper: reverse_kl(
        student, jax.lax.stop_gradient(teacher), **hyper
    ),
    "jsd": lambda student, teacher, labels, **hyper: jsd(student, jax.lax.stop_gradient(teacher), **hyper),
    "dkd": distillation.dkd_loss,
    "dist": lambda student, teacher, labels, **hyper: distillation.dist_loss(student, teacher, **hyper),
    "listmle": lambda student, teacher, labels: distillation.listmle_loss(
        student, distillation.teacher_optimal_ranking(teacher, labels)
    ),
    "pld": distillation.pld_loss,
    "binary_kl": lambda student, teacher, labels, **hyper: distillation.binary_kl(student, teacher, **hyper),
    "binary_kl_norm": lambda student, teacher, labels, **hyper: distillation.binary_kl_norm(
        student, teacher, **hyper
    ),
}

# What else is logged of a loss, from the teacher's logits and the labels.
WATCHED: dict[str, Callable] = {
    "pld": lambda teacher, labels, **hyper: {
        "first_weight": distillation.pld_first_weight(teacher, labels, **hyper).mean()
    },
}

# On what the classifier reads, of student and teacher, and the teacher's class means.
FEATURE_LOSSES: dict[str, Callable] = {
    "none": lambda student, teacher, labels, means: jnp.zeros(()),
    "direction": lambda student, teacher, labels, means: distillation.direction_loss(student, labels, means),
    "norm": lambda student, teacher, labels, means: distillation.norm_loss(student, teacher),
    "nd": distillation.nd_loss,
}
