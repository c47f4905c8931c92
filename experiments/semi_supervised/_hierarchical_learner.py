"""The learner of the detection driver: a teacher labels unlabelled scenes by level, a student sees them shuffled."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.optimizers import clipped_adamw
from experiments.semi_supervised._box_labels import Batch, Memory, Method, padded
from experiments.semi_supervised._box_teacher import Scenes, student_view, truth_of
from experiments.semi_supervised._detector import Detector, Labels, detection_loss, grid
from jaxlab import data
from jaxlab.core import Learner, ema_init, ema_update, gradient_learner, queue_init
from jaxlab.semi_supervised import hssda


def hierarchical_learner(
    method: Method, net: Detector, scenes: Scenes, config: ConfigDict, arm: Any
) -> Learner:
    """One arm: its method; `arm.removal` and `arm.shuffle` switch the rest."""

    def init(key: jax.Array, context: Any) -> tuple[Any, Memory]:
        params = context["burn_in"]
        return params, Memory(
            ema_init(params),
            jnp.broadcast_to(jnp.array(method.start(arm)), (scenes.num_classes, 3, 2)),
            queue_init(config.pool, 3),
            hssda.store_init(config.data.train - config.data.labelled, config.store),
        )

    def loss(params: Any, memory: Memory, batch: Any, step: jax.Array, key: jax.Array, context: Any) -> tuple:
        teacher_key, view_key, shuffle_key = jax.random.split(key, 3)
        labelled, others = batch["labelled"], batch["unlabelled"]
        metrics, labels, exists = {}, truth_of(labelled), labelled["exists"]
        points, shuffled = labelled["points"], jnp.zeros(len(exists), bool)
        if method.label:
            given = Batch(labelled, others, step, teacher_key, net, scenes, config, arm)
            own, seen, memory, metrics = method.label(given, memory)
            labels = Labels(*(jnp.concatenate(pair) for pair in zip(padded(labels, own), own)))
            points = jnp.concatenate([points, others["points"]])
            exists = jnp.concatenate([exists, seen])
            shuffled = jnp.concatenate([shuffled, jnp.full(len(seen), arm.shuffle)])
        permutation = data.random_quadrants(shuffle_key, len(points), shuffled=shuffled)
        points, labels = student_view(points, labels, view_key)
        half = scenes.size / 2
        moved, inside = data.shuffle_quadrants(
            points, permutation, x_range=(0.0, scenes.size), y_range=(-half, half), where=exists
        )
        maps = net.apply(params, grid(moved, inside, size=scenes.size, cells=scenes.cells), permutation)
        return detection_loss(maps, labels, size=scenes.size), (memory, metrics)

    def follow(params: Any, memory: Memory, step: jax.Array) -> Memory:
        decay = hssda.linear_keep_rate(step, end=arm.keep_rate, length=config.keep_length)
        return memory._replace(teacher=ema_update(memory.teacher, params, decay))

    optimizer = clipped_adamw(arm.learning_rate, config.steps, weight_decay=arm.weight_decay)
    return gradient_learner(init, loss, optimizer, after=follow)
