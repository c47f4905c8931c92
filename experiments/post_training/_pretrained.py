"""The stage that stands in for training when weights exist already."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab.core import InputError, computed
from jaxlab.language import Decoder, load_hugging_face, stack_layers
from jaxlab.training import Arm
from jaxlab.training.mesh import Rules


def pretrained(model: Decoder, spec: ConfigDict, sharding: Rules) -> Arm:
    """A stage that reads its state: `spec.weights` is a Hugging Face folder of the config's shape.

    `sharding` places its stacked parameters on the mesh. Without a folder the parameters are random, which is enough
    for `--dry_run`.
    """
    dtype = jnp.dtype(spec.dtype)

    def load(key: Any, context: Any, train: Any) -> Any:
        found, params = load_hugging_face(spec.weights, dtype=dtype)
        if dataclasses.replace(found, context=model.context, remat=model.remat) != model:
            raise InputError(f"{spec.weights} holds {found}: the config says {model}")
        return stack_layers(params)

    draw = lambda key, context, train: stack_layers(model.init(key, dtype=dtype))
    made = computed(load, jit=False) if spec.weights else computed(draw)
    return Arm(made, evaluate=lambda state, split, context: {}, sharding=sharding)
