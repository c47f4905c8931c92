"""Does a student gain from imitating the moving average of its own past? The method, and what is compared."""

import optax

from jaxlab import data, nets
from jaxlab.core import cross_entropy, ema_init, ema_update, ema_value, gradient_learner
from jaxlab.distillation import kd_loss
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Claim, Experiment


def average_teacher(net, example, optimizer, *, weight, decay=0.99):
    """A student whose teacher is the moving average of its own past."""

    def init(key, context):
        params = net.init(key, example)
        return params, ema_init(params)  # what is trained, and what is remembered

    def loss(params, average, batch, step, key, context):
        logits = net.apply(params, batch["image"])
        imitation = kd_loss(logits, net.apply(ema_value(average), batch["image"]), temperature=2.0)
        return (cross_entropy(logits, batch["label"]) + weight * imitation).mean(), (average, {})

    def follow(params, average, step):
        return ema_update(average, params, decay)

    return gradient_learner(init, loss, optimizer, after=follow)


def build(config, *, download=False):
    """Students that listen to their average by different weights."""
    splits, net = data.split_images(data.digits(), seed=0), nets.Mlp(features=(32,), num_classes=10)
    example, optimizer = splits["train"].image[:1], optax.adam(config.learning_rate)

    def method(settings):
        return average_teacher(net, example, optimizer, weight=settings.weight)

    def evaluate(state, split, context):
        return {"accuracy": accuracy(net.apply(state.params, split.image), split.label)}

    return Experiment(
        data=splits,
        draw=lambda train, key: data.draw(train, key, batch_size=config.batch_size),
        # Arms that differ in numbers alone are one compiled program.
        arms={name: Arm(method, arm.to_dict(), config.steps) for name, arm in config.arms.items()},
        evaluate=evaluate,
        claims=tuple(Claim(**claim) for claim in config.claims),
    )
