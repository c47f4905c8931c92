"""What every loss owes: dropped rows leave no trace, extremes are finite, devices agree, what does not fit is named.

`LOSSES` holds each as a function of views `[3, N, D]` and a mask of examples, with what else it needs made from them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import self_supervised as room
from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, sirl, sla, supremix
from tests.public import public

RNG = np.random.default_rng(0)
VIEWS = RNG.normal(size=(3, 8, 5)).astype(np.float32)
Z = VIEWS[0]
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
WHERE = np.array([1, 0, 1, 1, 1, 0, 1, 1], bool)
# Partners that stay inside the mask and inside halves of the batch.
PARTNER = np.array([2, 1, 3, 0, 6, 5, 7, 4], np.int32)
SHARE = RNG.beta(2, 8, size=(8, 8)).astype(np.float32)


INPUTS = {
    "plain": VIEWS,
    "spoiled": np.where(WHERE[:, None], VIEWS, np.nan).astype(np.float32),
    "zeros": np.zeros_like(VIEWS),
    "equal": np.full_like(VIEWS, 3.0),
    "huge": np.sign(VIEWS).astype(np.float32) * 1e4,
    "tiny": np.float32(1e-30) * VIEWS,
    "one": VIEWS[:, :1],
    "none": VIEWS[:, :0],
}
MASKS = {"all": np.ones(8, bool), "some": WHERE, "nothing": np.zeros(8, bool), "whole": None}


def _temperature(u, v):
    return 0.2 + 0.1 * jnp.tanh(jnp.sum(u * v, axis=-1))


def _supremix(v, where, axis_name=None, share=SHARE, **options):
    targets = jnp.asarray(LABELS, jnp.float32)[: v.shape[1]]
    return supremix.hard_mixture_loss(
        v[0],
        targets,
        share[: v.shape[1], : v.shape[1]],
        window=3.0,
        where=where,
        axis_name=axis_name,
        **options,
    )


def _mixed(v, where, axis_name=None):
    partner = jnp.arange(v.shape[1]) if v.shape[1] < 2 else jnp.asarray(PARTNER)[: v.shape[1]] % v.shape[1]
    return mixed_barlow_twins.mixed_barlow_twins_loss(
        *v, share=0.3, partner=partner, where=where, axis_name=axis_name
    )[0]


def _gated(v, where, axis_name=None):
    labels = jnp.asarray(LABELS)[: v.shape[1]]
    return hydra.gated_positive_loss(
        v[0], jnp.abs(v[1]), labels, labels[::-1], where=where, axis_name=axis_name
    )


def _joint(v, where):
    joint = jnp.concatenate([v[0], v[1]], axis=1)[:, :6].repeat(2, axis=0)
    labels = jnp.asarray(LABELS)[: v.shape[1]]
    return sla.self_distilled_loss(joint, v[2][:, :3], labels, copies=2, where=where)[0]


# Those that see the whole batch, and take `axis_name`.
WHOLE = {
    "mv_infonce": lambda v, where, axis_name=None: room.mv_infonce(v, where=where, axis_name=axis_name),
    "mv_dhel": lambda v, where, axis_name=None: room.mv_dhel(v, where=where, axis_name=axis_name),
    "dhel": lambda v, where, axis_name=None: room.dhel(v[0], v[1], where=where, axis_name=axis_name),
    "pairwise_nt_xent": lambda v, where, axis_name=None: room.pairwise_nt_xent(v, where=where, axis_name=axis_name),
    **{
        name: lambda v, where, axis_name=None, name=name: getattr(room, name)(v, where=where, axis_name=axis_name)
        for name in ("pairwise_dhel", "multi_positive_nt_xent", "poly_view_loss", "mean_view_contrast")
    },
    "poly_view arithmetic": lambda v, where, axis_name=None: room.poly_view_loss(
        v, mean="arithmetic", where=where, axis_name=axis_name),
    "mean_view decoupled": lambda v, where, axis_name=None: room.mean_view_contrast(
        v, decoupled=True, where=where, axis_name=axis_name),
    "adaptive": lambda v, where, axis_name=None: amcl.adaptive_multi_head_loss(
        v[:2], v[1:], _temperature, where=where, axis_name=axis_name),
    "adaptive all": lambda v, where, axis_name=None: amcl.adaptive_multi_head_loss(
        v[:2], v[1:], _temperature, against="all", with_positive=True, where=where, axis_name=axis_name),
    "hard_mixture": _supremix,
    "hard_mixture authors": functools.partial(_supremix, authors_code=True),
    "mixed_barlow_twins": _mixed,
    "gated_positive": _gated,
    "vicreg": lambda v, where, axis_name=None: room.vicreg_loss(v[0], v[1], where=where, axis_name=axis_name)[0],
}  # fmt: skip
LOSSES = WHOLE | {
    "byol": lambda v, where: room.byol_loss(v[0], v[1], v[1], v[2], where=where),
    "simsiam": lambda v, where: room.simsiam_loss(v[0], v[1], v[1], v[2], where=where),
    "dino": lambda v, where: room.dino_loss(v, v[:2], v[0, 0], where=where),
    "joint": _joint,
    "triplet": lambda v, where: sirl.triplet_similarity_loss(*v, where=where),
    "preference": lambda v, where: sirl.preference_loss(
        v[0, :, 0], v[1, :, 0], jnp.linspace(0, 1, v.shape[1]), where=where
    ),
}
BATCH_LEVEL = {"mixed_barlow_twins", "gated_positive", "vicreg"}
CENTRED = {"dino"}  # its center is row 0 of what it is called with
every = pytest.mark.parametrize("name", LOSSES)


@jax.jit
def _everything(views, where):
    """Value and gradient of all, in one program."""
    out = {}
    for name, loss in LOSSES.items():
        if name in CENTRED and not views.shape[1]:
            continue

        def total(views, loss=loss):
            value = loss(views, where)
            return jnp.sum(value), value

        (_, value), gradient = jax.value_and_grad(total, has_aux=True)(views)
        out[name] = value, gradient
    return out


@functools.cache
def _made(views, where):
    """The same of inputs by name, once."""
    return jax.tree.map(np.asarray, _everything(INPUTS[views], MASKS[where]))


@every
def test_shape_and_eager(name):
    value, gradient = _made("plain", "all")[name]
    assert value.shape == (() if name in BATCH_LEVEL else (8,))
    assert value.dtype == jnp.float32
    assert np.isfinite(value).all()
    assert np.abs(gradient).max() > 1e-4
    np.testing.assert_allclose(LOSSES[name](VIEWS, None), value, rtol=1e-4, atol=1e-5)
    half = jax.ShapeDtypeStruct(VIEWS.shape, jnp.bfloat16)
    assert jax.eval_shape(lambda views: LOSSES[name](views, None), half).dtype == jnp.float32


@functools.cache
def _without_dropped_rows():
    """Every loss of the rows that count alone, in one program."""
    kept = VIEWS[:, WHERE]
    own = {
        **{
            name: lambda authors=authors: supremix.hard_mixture_loss(
                kept[0],
                LABELS[WHERE].astype(np.float32),
                SHARE[np.ix_(WHERE, WHERE)],
                window=3.0,
                authors_code=authors,
            )
            for name, authors in (("hard_mixture", False), ("hard_mixture authors", True))
        },
        "mixed_barlow_twins": lambda: mixed_barlow_twins.mixed_barlow_twins_loss(
            *kept, share=0.3, partner=(np.cumsum(WHERE) - 1)[PARTNER[WHERE]].astype(np.int32)
        )[0],
        "gated_positive": lambda: hydra.gated_positive_loss(
            kept[0], np.abs(kept[1]), LABELS[WHERE], LABELS[::-1][WHERE]
        ),
        "preference": lambda: sirl.preference_loss(
            kept[0, :, 0], kept[1, :, 0], np.linspace(0, 1, 8, dtype=np.float32)[WHERE]
        ),
        "joint": lambda: sla.self_distilled_loss(
            np.concatenate(kept[:2], axis=1)[:, :6].repeat(2, axis=0), kept[2][:, :3], LABELS[WHERE], copies=2
        )[0],
    }
    plain = {name: functools.partial(loss, kept, None) for name, loss in LOSSES.items()}
    return jax.jit(lambda: {name: loss() for name, loss in (plain | own).items()})()


@every
def test_rows_that_do_not_count_are_dropped(name):
    """A NaN behind the mask shows nowhere; without the mask it does."""
    value, gradient = _made("spoiled", "some")[name]
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert not np.any(gradient[:, ~WHERE])
    assert np.isnan(_made("spoiled", "all")[name][0]).any()
    got = value if name in BATCH_LEVEL else value[WHERE]
    np.testing.assert_allclose(got, _without_dropped_rows()[name], rtol=2e-5, atol=1e-5)
    if name not in BATCH_LEVEL:
        assert not np.any(value[~WHERE])


@every
def test_extremes_are_finite(name):
    for kind in ("zeros", "equal", "huge", "tiny"):
        value, gradient = _made(kind, "all")[name]
        assert np.isfinite(value).all(), kind
        assert np.isfinite(gradient).all(), kind
    value, gradient = _made("plain", "nothing")[name]
    assert np.isfinite(value).all()
    assert not np.any(gradient)
    if name != "mixed_barlow_twins":  # where no correlation at all costs 1 per feature
        assert not np.any(value)


@every
def test_a_batch_of_one_and_of_none(name):
    for rows in ("one", "none"):
        if name in CENTRED and rows == "none":
            continue
        value, gradient = _made(rows, "whole")[name]
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("labels", "mixed"), [(np.arange(8), True), (np.arange(8), False), (np.zeros(8), True)]
)
def test_classes_of_one_member_and_pairs_that_are_all_positive(labels, mixed):
    """Without mixtures a target of its own has no positive: it costs nothing and moves nothing."""
    labels = labels.astype(np.int32)

    def losses(z):
        gates = hydra.gated_positive_loss(z, jnp.abs(z), labels, labels)
        mixtures = supremix.hard_mixture_loss(
            z, labels.astype(np.float32), SHARE, window=3.0, mix_positives=mixed, mix_negatives=mixed
        )
        return gates, mixtures

    @jax.jit
    def both(z):
        values, pull = jax.vjp(losses, z)
        none = jnp.zeros(8)
        return values, pull((jnp.float32(1), none))[0], pull((jnp.float32(0), none + 1))[0]

    (gates, mixtures), *gradients = both(Z)
    for value, gradient in zip((gates, mixtures), gradients, strict=True):
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
    if not mixed:
        assert not np.any(mixtures)
        assert not np.any(gradient)
    if not labels.any():  # all are positives, alike far away: each is against the seven others
        assert (mixtures > 0).all()
        assert gates == 0


def _call(name, *args, **options):
    functions = {path.rpartition(".")[2]: value for path, value in public("jaxlab.self_supervised").items()}
    return lambda: functions[name](*args, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_call("mv_infonce", VIEWS[:1]), r"views must be \[K, N, D\] with K at least 2, got \(1, 8, 5\)"),
        (_call("poly_view_loss", VIEWS, mean="harmonic"), "mean must be one of"),
        (_call("mv_dhel", Z), r"views must be \[K, N, D\] with K at least 2, got \(8, 5\)"),
        (_call("pairwise_nt_xent", VIEWS[:1]), r"views must be \[K, N, D\] with K at least 2, got \(1, 8, 5\)"),
        (_call("pairwise_nt_xent", VIEWS, temperature=0.0), "temperature must be positive, got 0.0"),
        (_call("dhel", Z, Z[:3]), r"x \(8, 5\) and y \(3, 5\) must have the same shape"),
        (_call("mv_dhel", VIEWS, where=WHERE[:3]), r"where \(3,\) must broadcast to the examples of views \(8,\)"),
        (_call("mixed_barlow_twins_loss", Z, Z, Z[:3], share=0.5, partner=PARTNER), r"mixed \(3, 5\) must have"),
        (_call("mix_samples", Z, Z, share=1.5, partner=PARTNER), r"share must be in \[0, 1\], got 1.5"),
        (_call("mix_samples", Z, Z, share=0.5, partner=PARTNER + 1), r"partner must be in \[0, 8\), got 8"),
        (_call("mix_samples", Z, Z, share=0.5, partner=PARTNER[:2]), r"partner \(2,\) must be \[N\] of 8 rows"),
        (_call("adaptive_multi_head_loss", Z, Z, 1.0), r"must have the same shape \[C, N, D\]"),
        (_call("adaptive_multi_head_loss", VIEWS, VIEWS, -1.0), "temperature must be positive, got -1.0"),
        (_call("adaptive_multi_head_loss", VIEWS, VIEWS, 1.0, against="some"), "against must be one of"),
        (_call("pair_temperature", {}, Z, Z[:2]), r"u \(8, 5\) and v \(2, 5\) must have the same shape"),
        (_call("pair_temperature", {}, Z, Z, low=0.0), "low must be above 0 and high above it, got low 0.0"),
        (_call("pair_gate", hydra.pair_gate_init(jax.random.key(0), num_classes=2, dim=3), LABELS, LABELS),
         r"labels must be in \[0, 2\), or negative for an example to ignore, got 2"),
        (_call("gated_cosine", Z, Z[:, :2], Z), r"z \(8, 5\) must be \[N, D\], keys \(8, 2\)"),
        (_call("gated_positive_loss", Z, Z, LABELS[:2], LABELS), r"z \(8, 5\) must be \[N, D\], labels \(2,\)"),
        (_call("hard_mixture_loss", Z, LABELS * 1.0, SHARE[:2], window=1.0), r"share \(2, 8\) must be \[N, N\]"),
        (_call("hard_mixture_loss", Z, LABELS * 1.0, SHARE, window=0.0), "window must be positive, got 0.0"),
        (_call("hard_mixture_loss", Z, LABELS * 1.0, SHARE, window=1.0, distance="l3"), "distance must be one of"),
        (_call("joint_label_loss", Z, LABELS, copies=3), r"joint_logits \(8, 5\) must be \[B n, C n\] for 3 copies"),
        (_call("joint_labels", LABELS, copies=0), "copies must be at least 1, got 0"),
        (_call("joint_label_loss", Z[:, :4], LABELS[:4], copies=2),
         r"labels must be in \[0, 2\), or negative for an example to ignore, got 2"),
        (_call("self_distilled_loss", Z[:, :4], Z, LABELS[:4] % 2, copies=2),
         r"single_head_logits \(8, 5\) must be \(4, 2\)"),
        (_call("triplet_similarity_loss", Z, Z, Z[:1]), r"must share a shape \[Q, D\]"),
        (_call("triplet_similarity_loss", Z, Z, Z, margin=-1.0), "margin must be at least 0, got -1.0"),
        (_call("preference_loss", Z[0], Z[0], 2 + np.abs(Z[0])), r"preferred must be probabilities of the first"),
        (_call("byol_loss", Z, Z, Z, Z[:2]), r"predictions and targets must share a shape \[N, D\]"),
        (_call("dino_loss", VIEWS[:1], VIEWS[:1], Z[0]), r"must be \[K, N, D\] with K at least 2"),
        (_call("dino_loss", VIEWS, VIEWS[:2], Z), r"center \(8, 5\) must be \[D\] of teacher_logits"),
        (_call("dino_center_update", Z[0], VIEWS, decay=2.0), r"decay must be in \[0, 1\], got 2.0"),
        (_call("vicreg_loss", Z, Z[:2]), r"z1 \(8, 5\) and z2 \(2, 5\) must have the same shape"),
        (_call("vicreg_loss", Z, Z, eps=-1.0), "eps must be at least 0, got -1.0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
