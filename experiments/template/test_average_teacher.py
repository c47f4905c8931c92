"""At weight 0 the method is plain training."""

import jax
import numpy as np
import optax

from average_teacher import average_teacher
from jaxlab import nets
from jaxlab.core import cross_entropy, gradient_learner


def test_at_weight_zero_it_is_plain_training():
    net, key = nets.Mlp(features=(4,), num_classes=3), jax.random.key(0)
    batch = {"image": jax.random.normal(key, (6, 5)), "label": np.arange(6) % 3}

    def loss(params, memory, batch, step, key, context):
        return cross_entropy(net.apply(params, batch["image"]), batch["label"]).mean(), (memory, {})

    plain = gradient_learner(lambda key, context: (net.init(key, batch["image"]), None), loss, optax.sgd(0.1))
    ours = average_teacher(net, batch["image"], optax.sgd(0.1), weight=0.0)
    expected, found = plain.init(key, {}), ours.init(key, {})
    for _ in range(3):  # at the first step the average is the student itself, so its weight does not show
        expected, _ = plain.update(expected, batch, key, {})
        found, _ = ours.update(found, batch, key, {})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found.params, expected.params)
