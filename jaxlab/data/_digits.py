"""Handwritten digits that a Python package carries: real images without a download."""

from jaxlab.core import MissingPackage
from jaxlab.data._images import Images, from_host


def digits() -> Images:
    """1,797 handwritten digits of 8x8 pixels in 10 classes, from scikit-learn.

    Returns:
        `Images` with image `[1797, 8, 8, 1]` in [0, 1] (the counts 0 ... 16, divided by 16) and label `[1797]`.

    Raises:
        MissingPackage: scikit-learn is not installed.

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998, UCI repository, its test part.

    >>> from jaxlab.data import digits
    >>> digits().image.shape
    (1797, 8, 8, 1)
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        message = "scikit-learn is needed for digits: pip install scikit-learn"
        raise MissingPackage(message) from error
    raw = load_digits()
    return from_host(raw.images, raw.target, scale=16)
