"""Self-supervision: losses that shape representations from several views of unlabelled examples.

A loss takes the projector's outputs of two sets of views, `[N, D]` each, row i of both from one example, and sees the
whole batch: it is one number, and `axis_name` makes it that of a batch split over devices. Both branches receive
gradient unless its first lines say otherwise.
"""

from jaxlab.self_supervised._barlow_twins import BarlowTwinsTerms, barlow_twins_loss
from jaxlab.self_supervised._lars import lars

__all__ = ["BarlowTwinsTerms", "barlow_twins_loss", "lars"]
