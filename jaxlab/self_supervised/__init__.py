"""Self-supervision: losses that shape representations from views of examples, from labels in new roles, from answers.

A loss takes vectors: two sets of views `[N, D]`, row i of both from one example, or K of them `[K, N, D]`. It returns
one number per example, or, where its first line says batch-level, one for the whole batch. What sees the whole batch
takes `axis_name`, which makes the batch that of all devices. All branches receive gradient unless its first lines say
otherwise.
"""

from jaxlab.self_supervised._adaptive_temperatures import (
    adaptive_multi_head_loss,
    pair_temperature,
    pair_temperature_init,
    temperature_penalty,
)
from jaxlab.self_supervised._barlow_twins import BarlowTwinsTerms, barlow_twins_loss
from jaxlab.self_supervised._gated_positives import (
    gated_cosine,
    gated_positive_loss,
    pair_gate,
    pair_gate_init,
)
from jaxlab.self_supervised._hard_mixtures import hard_mixture_loss
from jaxlab.self_supervised._joint_labels import (
    LabelAugmentationTerms,
    aggregate_logits,
    joint_label_loss,
    joint_labels,
    self_distilled_loss,
    single_logits,
)
from jaxlab.self_supervised._lars import lars
from jaxlab.self_supervised._mixed_samples import (
    MixedBarlowTwinsTerms,
    mix_samples,
    mixed_barlow_twins_loss,
)
from jaxlab.self_supervised._multi_view import dhel, mv_dhel, mv_infonce, pairwise_nt_xent
from jaxlab.self_supervised._predicted_views import byol_loss, dino_center_update, dino_loss, simsiam_loss
from jaxlab.self_supervised._triplets import preference_loss, triplet_similarity_loss
from jaxlab.self_supervised._vicreg import VICRegTerms, vicreg_loss

__all__ = [
    "BarlowTwinsTerms",
    "LabelAugmentationTerms",
    "MixedBarlowTwinsTerms",
    "VICRegTerms",
    "adaptive_multi_head_loss",
    "aggregate_logits",
    "barlow_twins_loss",
    "byol_loss",
    "dhel",
    "dino_center_update",
    "dino_loss",
    "gated_cosine",
    "gated_positive_loss",
    "hard_mixture_loss",
    "joint_label_loss",
    "joint_labels",
    "lars",
    "mix_samples",
    "mixed_barlow_twins_loss",
    "mv_dhel",
    "mv_infonce",
    "pair_gate",
    "pair_gate_init",
    "pair_temperature",
    "pair_temperature_init",
    "pairwise_nt_xent",
    "preference_loss",
    "self_distilled_loss",
    "simsiam_loss",
    "single_logits",
    "temperature_penalty",
    "triplet_similarity_loss",
    "vicreg_loss",
]
