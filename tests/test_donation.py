"""What a method begins with has buffers of its own, so that the compiled step may take them over."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import core, distillation, language, semi_supervised
from jaxlab.distillation import talking_models, tgeo_kd
from jaxlab.merging import adamerging
from jaxlab.semi_supervised import hssda, prototype_memory

PARAMS = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}
DECODER = language.Decoder(vocab_size=5, width=8, num_layers=2, num_heads=2)

STATES = {
    "bank_init": lambda: core.bank_init(3, 2),
    "ema_init": lambda: core.ema_init(jax.tree.map(jnp.asarray, PARAMS)),
    "ema_init zero": lambda: core.ema_init(jax.tree.map(jnp.asarray, PARAMS), zero=True),
    "queue_init": lambda: core.queue_init(4, 2),
    "master_weights": lambda: core.master_weights(optax.adam(1e-3)).init(
        jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), PARAMS)
    ),
    "crd_init": lambda: distillation.crd_init(jax.random.key(0), 4, 3),
    "codec_init": lambda: talking_models.codec_init(jax.random.key(0), width=3, message=2, hidden=4),
    "fusion_controller_init": lambda: tgeo_kd.fusion_controller_init(jax.random.key(0), 3),
    "init_lora": lambda: language.init_lora(jax.random.key(0), DECODER, rank=2),
    "initial_coefficients": lambda: adamerging.initial_coefficients(PARAMS, 3),
    "adaptive_init": lambda: semi_supervised.adaptive_init(3),
    "class_queues_init": lambda: prototype_memory.class_queues_init(3, 4, 2),
    "curriculum_init": lambda: semi_supervised.curriculum_init(3),
    "store_init": lambda: hssda.store_init(2, 3),
}


@pytest.mark.parametrize("name", STATES)
def test_a_first_state_can_be_donated(name):
    state = STATES[name]()
    expected = jax.tree.map(np.array, state)
    kept = jax.jit(lambda state: jax.tree.map(lambda x: x + 0, state), donate_argnums=0)(state)
    chex.assert_trees_all_equal(kept, expected)
