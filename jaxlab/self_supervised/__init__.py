"""Self-supervision: losses that shape representations from views of examples, from labels in new roles, from answers.

A loss takes vectors: two sets of views `[N, D]`, row i of both from one example, or K of them `[K, N, D]`. It returns
one number per example, or, where its first line says batch-level, one for the whole batch. What sees the whole batch
takes `axis_name`, which makes the batch that of all devices. All branches receive gradient unless its first lines say
otherwise.
"""

from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, sirl, sla, supremix
from jaxlab.self_supervised._barlow_twins import BarlowTwinsTerms, barlow_twins_loss
from jaxlab.self_supervised._lars import lars
from jaxlab.self_supervised._multi_view import (
    dhel,
    mean_view_contrast,
    multi_positive_nt_xent,
    mv_dhel,
    mv_infonce,
    pairwise_dhel,
    pairwise_nt_xent,
    poly_view_loss,
)
from jaxlab.self_supervised._predicted_views import byol_loss, dino_center_update, dino_loss, simsiam_loss
from jaxlab.self_supervised._vicreg import VICRegTerms, vicreg_loss

__all__ = [
    "BarlowTwinsTerms",
    "VICRegTerms",
    "amcl",
    "barlow_twins_loss",
    "byol_loss",
    "dhel",
    "dino_center_update",
    "dino_loss",
    "hydra",
    "lars",
    "mean_view_contrast",
    "mixed_barlow_twins",
    "multi_positive_nt_xent",
    "mv_dhel",
    "mv_infonce",
    "pairwise_dhel",
    "pairwise_nt_xent",
    "poly_view_loss",
    "simsiam_loss",
    "sirl",
    "sla",
    "supremix",
    "vicreg_loss",
]
