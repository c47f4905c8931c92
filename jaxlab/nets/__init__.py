"""Small flax modules for teachers and students: `net.apply(params, x) -> logits`, pure in `params`.

One convention for every net. `net.init(key, x)` makes the parameters (float32), `net.apply(params, x)` the
logits `[B, num_classes]`, and `net.apply(params, x, return_features=True)` gives `(logits, features)`:
`features` is the tuple of hidden activations from input to output, and its last entry `[B, F]` is the vector
that the classifier reads. `dtype=jnp.bfloat16` computes the hidden layers in that type; the classifier, the
logits and the features are float32 (float64 stays float64). Inputs are `[B, H, W, C]`, or `[B, ...]` for
`Mlp`. `UNet` gives logits per pixel or voxel, and what its classifier reads is a map.
"""

from jaxlab.nets._conv import Conv, conv2d, conv3d
from jaxlab.nets._convnet import ConvNet
from jaxlab.nets._l2_bottleneck import L2BottleneckHead
from jaxlab.nets._mlp import Mlp
from jaxlab.nets._resnet import ResNet, resnet8, resnet20
from jaxlab.nets._unet import UNet

__all__ = [
    "Conv",
    "ConvNet",
    "L2BottleneckHead",
    "Mlp",
    "ResNet",
    "UNet",
    "conv2d",
    "conv3d",
    "resnet8",
    "resnet20",
]
