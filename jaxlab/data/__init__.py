"""Data sets as pytrees of arrays, and batches drawn from them inside the compiled step.

A set is `Images(image [N, H, W, C] float32 in [0, 1], label [N] int32)`, or any dict of arrays with one leading
axis. A batch is a flat dict: the fields of the set, plus `"index"` `[B]`, the rows that were drawn:
`draw(images, key, batch_size=64)` gives `{"image", "label", "index"}`. Everything that is random comes from a
key or a seed, so the same call gives the same data on every machine.
"""

from jaxlab.data._augment import crop_flip
from jaxlab.data._digits import digits
from jaxlab.data._draw import draw, take
from jaxlab.data._fashion_mnist import fashion_mnist
from jaxlab.data._hierarchy import image_hierarchy, superclass
from jaxlab.data._images import Images
from jaxlab.data._npz import images_from_npz
from jaxlab.data._picture import picture
from jaxlab.data._split import split, split_images

__all__ = [
    "Images",
    "crop_flip",
    "digits",
    "draw",
    "fashion_mnist",
    "image_hierarchy",
    "images_from_npz",
    "picture",
    "split",
    "split_images",
    "superclass",
    "take",
]
