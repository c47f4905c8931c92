"""Contrast for regression: negatives and positives that are mixtures of embeddings, weighted by distance of targets."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax, masked_mean, normalize
from jaxlab.core._mapped import gather_rows
from jaxlab.core.check import InputError, check_choice, check_fraction, check_positive, full_mask

_DISTANCES = {
    "l1": lambda gap: jnp.abs(gap) + 1.0,
    "l2": lambda gap: jnp.square(gap) + 1.0,
    "none": jnp.ones_like,
}


def hard_mixture_loss(
    features: jax.Array,
    targets: jax.Array,
    share: jax.Array,
    *,
    window: float | jax.Array,
    temperature: float | jax.Array = 0.5,
    distance: str = "l1",
    mix_negatives: bool = True,
    mix_positives: bool = True,
    authors_code: bool = False,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Supervised contrast with mixed pairs (SupReMix), per row against its batch.

    Rows of the same target attract. A mixed negative is the row itself with one of another target; a mixed positive is
    two rows whose targets lie on either side of the row's, mixed so that their target is the row's. All that stands in
    the softmax is weighted by how far its target is from the row's. Gradients flow into rows; stopped at mixtures, so
    that only the row which they are compared with moves. Memory is `[N, N, N]`: 64 rows are 1 MB, 512 are 0.5 GB.

        -mean over x in P_i or M+_i of log( exp(<z_i, x> / T) / sum_y w_iy exp(<z_i, y> / T) ),  w_iy = |t_i - t_y| + 1
        P_i: z_j, t_j = t_i;   M-_i: a z_i + (1 - a) z_k, t_k != t_i
        M+_i: b z_j + (1 - b) z_k, t_j < t_i < t_k, b = (t_k - t_i) / (t_k - t_j)

    The sum is over all other rows and both kinds of mixtures. Mixtures are not normalised again.

    Args:
      features: `[N, D]`, of any length: they are normalised here. Views of an example are rows of the same target.
      targets: `[N]` numbers; equal ones are the same.
      share: `[N, N]` in [0, 1], the row's own share a_ik in its mixed negatives, of Beta(2, 8) in the paper.
      window: a mixed positive's targets are nearer than that; may be traced.
      temperature: T, a positive scalar; may be traced.
      distance: "l1" for the weight above, "l2" for (t_i - t_y)^2 + 1, "none" for 1.
      mix_negatives: whether mixed negatives exist.
      mix_positives: whether mixed positives exist. Without both and with "none" it is the supervised contrastive loss.
      authors_code: take the logits of real rows and those of mixtures from a peak of their own each, which moves the
        two against each other; let mixtures of a kind that is left out stay, as zeros of target 0; and with "l2" weigh
        mixtures by (t_i - t_y + 1)^2 + 1.
      where: `[N]` bool or {0, 1}, the rows that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the batch is split: the losses are those of the local rows, against the global
        batch; `share` is then `[N, all N]`.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0 but for the rounding; 0 for a row without a positive.

    Raises:
      ValueError: if the shapes do not fit, or an option is not as above.

    Reference: Mixup Your Own Pairs (SupReMix), 2023, with one common softmax for real and mixed pairs.

    >>> z, t = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), jnp.array([0.0, 0.0, 1.0])
    >>> options = {"window": 5.0, "temperature": 1.0, "mix_negatives": False, "distance": "none"}
    >>> [round(v, 4) for v in hard_mixture_loss(z, t, jnp.zeros((3, 3)), **options).tolist()]  # log(1 + 1 / e)
    [0.3133, 0.3133, 0.0]
    """
    _check(features, targets, share, window, temperature, distance, axis_name)
    rows = np.shape(targets)[0]
    exists = full_mask(where, (rows,), "rows of features")
    units = normalize(jnp.where(exists[:, None], as_float(features), 0.0))
    goals = jnp.where(exists, as_float(targets), 0.0).astype(units.dtype)
    everyone, theirs, present, offset = units, goals, exists, 0
    if axis_name is not None:
        everyone, theirs = (gather_rows(x, axis_name) for x in (units, goals))
        present = gather_rows(exists.astype(jnp.int32), axis_name).astype(bool)
        offset = jax.lax.axis_index(axis_name) * rows
    own = jnp.arange(present.size) == (offset + jnp.arange(rows))[:, None]
    others = present & exists[:, None] & ~own
    gap = goals[:, None] - theirs
    weigh, late = _DISTANCES[distance], float(authors_code and distance == "l2")
    frozen = jax.lax.stop_gradient(everyone)
    to_frozen = units @ frozen.T  # of a mixture it is the mixture of these: only the anchor moves
    to_itself = jnp.sum(units * jax.lax.stop_gradient(units), axis=-1, keepdims=True)
    share = jnp.where(others, as_float(share).astype(units.dtype), 0.0)
    different = others & (gap != 0)
    mixed_negative, negative_gap = share * to_itself + (1 - share) * to_frozen, (1 - share) * gap
    mixed_positive, straddle = _mixed_positives(goals, theirs, others & (jnp.abs(gap) < window), to_frozen)
    positive_gap = jnp.zeros_like(mixed_positive)
    if authors_code and mix_negatives != mix_positives:
        left_out = lambda x: (jnp.zeros_like(x), jnp.broadcast_to(goals[:, None], x.shape))
        if mix_negatives:
            mixed_positive, positive_gap = left_out(mixed_positive)
        else:
            mixed_negative, negative_gap = left_out(mixed_negative)
        mix_negatives = mix_positives = True
    different_mixed, straddle = different & mix_negatives, straddle & mix_positives
    real = units @ everyone.T / temperature
    mixtures = jnp.concatenate([mixed_negative, mixed_positive], axis=1) / temperature
    exist = jnp.concatenate([different_mixed, straddle], axis=1)
    if authors_code:
        # Their peaks are over all that stands in the lists: the row itself, and zeros for what is no mixture.
        real -= _peak(real, others, to_itself / temperature)
        mixtures -= _peak(mixtures, exist, 0.0)
    logits = jnp.concatenate([real, mixtures], axis=1)
    weight = jnp.concatenate([weigh(gap), weigh(negative_gap + late), weigh(positive_gap + late)], axis=1)
    exist = jnp.concatenate([others, exist], axis=1)
    positive = jnp.concatenate([others & ~different, jnp.zeros_like(different), straddle], axis=1)
    # The log-probability of a weighted softmax has the weight in its numerator; the loss has not.
    log_weight = jnp.log(weight)
    log_probs = masked_log_softmax(logits + log_weight, where=exist) - log_weight
    return masked_mean(-log_probs, where=positive, axis=1)


def _peak(logits: jax.Array, exist: jax.Array, other: jax.Array | float) -> jax.Array:
    """The largest of the logits that exist and of another, `[N, 1]`, without gradient."""
    largest = jnp.max(jnp.where(exist, logits, -jnp.inf), axis=1, keepdims=True, initial=-jnp.inf)
    return jax.lax.stop_gradient(jnp.maximum(largest, other))


def _mixed_positives(
    goals: jax.Array, theirs: jax.Array, near: jax.Array, similarity: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Similarities `[N, M^2]` of rows to mixtures of two others, whose targets straddle theirs, and which there are."""
    below, above = near & (theirs < goals[:, None]), near & (theirs > goals[:, None])
    straddle = below[:, :, None] & above[:, None, :]
    span = jnp.where(straddle, theirs[None, :] - theirs[:, None], 1.0)
    part = jnp.where(straddle, (theirs[None, :] - goals[:, None])[:, None, :] / span, 0.0)
    mixed = part * similarity[:, :, None] + (1 - part) * similarity[:, None, :]
    flat = lambda x: x.reshape(len(goals), theirs.size**2)
    return flat(mixed), flat(straddle)


def _check(features, targets, share, window, temperature, distance, axis_name) -> None:
    rows = np.shape(targets)
    if np.ndim(features) != 2 or rows != np.shape(features)[:1]:
        raise InputError(f"features {np.shape(features)} must be [N, D] and targets {rows} [N]")
    if (
        np.shape(share)[:1] != rows
        or np.ndim(share) != 2
        or (axis_name is None and np.shape(share)[1:] != rows)
    ):
        raise InputError(f"share {np.shape(share)} must be [N, N] for {rows[0]} rows")
    check_fraction("share", share)
    check_positive("window", window)
    check_positive("temperature", temperature)
    check_choice("distance", distance, tuple(_DISTANCES))
