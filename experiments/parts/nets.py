"""Nets by name."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from experiments.parts.checks import choose
from jaxlab import nets

NETS: dict[str, Callable[[tuple[int, ...], int], Any]] = {
    "mlp": lambda features, classes: nets.Mlp(features=features, num_classes=classes),
    "convnet": lambda features, classes: nets.ConvNet(channels=features, num_classes=classes),
    "resnet": lambda features, classes: nets.ResNet(blocks=features, num_classes=classes),
}


def make_net(spec: ConfigDict, num_classes: int) -> Any:
    """The net that `spec.kind` names; `spec.features` are widths of layers, channels, or blocks of each stage."""
    return choose("net.kind", spec.kind, NETS)(tuple(spec.features), num_classes)
