"""The authors' numbers, values and gradients; where no code of theirs runs, those of the papers' equations in loops.

All cases are one compiled function: `CASES` holds, by name, a loss of the arrays that gradients are taken for.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import self_supervised as room
from jaxlab.core import multi_positive_cross_entropy
from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, sirl, sla, supremix

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
OWN, MIXED, HYDRA, SLA, SIRL = (
    dict(np.load(FOLDER / f"{name}.npz"))
    for name in ("self_supervised", "mixed_barlow_twins", "hydra", "sla", "sirl")
)
MIX = {"share": float(MIXED["in_alpha"]), "partner": MIXED["in_index"].astype(np.int32)}
COPIES = {"copies": 4}
IMAGENET = {"off_diagonal_weight": 0.0051, "mixing_weight": 0.5, "authors_code": True}


def _gate(classes):
    norm = lambda i: {"scale": HYDRA[f"in_gate_mlp_{i}_weight"], "bias": HYDRA[f"in_gate_mlp_{i}_bias"]}
    layer = lambda i: {"w": HYDRA[f"in_gate_mlp_{i}_weight"].T, "b": HYDRA[f"in_gate_mlp_{i}_bias"]}
    params = {
        "classes": classes,
        "first": {"norm": norm(1), **layer(2)},
        "second": {"norm": norm(4), **layer(5)},
    }
    return jax.tree.map(jnp.float32, params)


def _hydra(z, classes, *, partners=HYDRA["in_posy"], open_gate=False, **options):
    labels, partners = HYDRA["in_y"].astype(np.int32), partners.astype(np.int32)
    gate = jnp.ones_like(z) if open_gate else hydra.pair_gate(_gate(classes), labels, partners)
    return hydra.gated_positive_loss(z, gate, labels, partners, **options)


def _pairs_alike(logits):
    positives, negatives = HYDRA["in_pos_mask"], HYDRA["in_neg_mask"]
    losses = multi_positive_cross_entropy(logits, positives, negatives, positives_compete=False)
    return jnp.sum(losses * positives.sum(1)) / positives.sum()


def _amcl(against):
    def loss(z1, z2, w1, b1, w2, b2):
        params = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
        temperature = lambda u, v: amcl.pair_temperature(params, u, v, low=0.05, high=2.0)
        return amcl.adaptive_multi_head_loss(z1, z2, temperature, against=against)

    return loss


def _supremix(**options):
    return lambda z: supremix.hard_mixture_loss(z, OWN["in_targets"], OWN["in_share"], window=3.5, **options)


def _self_distilled(temperature):
    def loss(joint, heads):
        labels, options = SLA["in_y"].astype(np.int32), COPIES | {"temperature": temperature}
        return jnp.mean(sla.self_distilled_loss(joint, heads[::4], labels, **options)[0])

    return loss


def _joint(factor):
    labels = SLA["in_y"].astype(np.int32)
    return lambda joint: factor * jnp.mean(sla.joint_label_loss(joint, labels, **COPIES))


def _own(name, *leaves):
    return (
        [OWN[f"in_{leaf}"] for leaf in leaves],
        OWN[f"out_{name}"],
        [OWN[f"grad_{name}_{leaf}"] for leaf in leaves],
    )


def _sirl(margin):
    names = ("p1", "p2", "n")
    return (
        [SIRL[f"in_{name}"] for name in names],
        SIRL[f"out_loss_m{margin}"],
        [SIRL[f"grad_{name}_m{margin}"] for name in names],
    )


FOUR = ("p1", "p2", "t1", "t2")
NET = ("heads1", "heads2", "w1", "b1", "w2", "b2")
SMALL, LARGE = (
    ([MIXED[f"in_{name}"] for name in ("o1", "o2", "om")], MIXED[f"out_{out}"], MIXED[f"out_{mix}"], grads)
    for out, mix, grads in (
        ("bt", "mix", [MIXED[f"grad_{n}"] for n in ("o1", "o2", "om")]),
        ("imagenet_bt", "imagenet_mix", [MIXED[f"grad_imagenet_{n}"] for n in ("o1", "o2", "om")]),
    )
)
GATED = [HYDRA["in_z"], HYDRA["in_gate_label_embedding_weight"]]
JOINT, HEADS = SLA["in_J"], SLA["in_S"]
gated_gradients = lambda kind: [HYDRA[f"grad_{kind}_z"], HYDRA[f"grad_{kind}_label_embedding"]]
# name: (loss, (inputs, value, gradients or None))
CASES = {
    "byol": (room.byol_loss, _own("byol", *FOUR)),
    "simsiam": (room.simsiam_loss, _own("simsiam", *FOUR)),
    "dino": (room.dino_loss, _own("dino", "student", "teacher", "center")),
    "vicreg": (lambda x, y: room.vicreg_loss(x, y)[0], _own("vicreg", "vic1", "vic2")),
    "mv_infonce": (lambda v: room.mv_infonce(v, temperature=0.5), _own("mv_infonce", "views")),
    "mv_dhel": (lambda v: room.mv_dhel(v, temperature=0.2), _own("mv_dhel", "views")),
    "pairwise_nt_xent": (lambda v: room.pairwise_nt_xent(v, temperature=0.5), _own("pairwise", "views")),
    "supremix": (_supremix(), _own("supremix", "mix")),
    "supremix without mixed positives": (
        _supremix(temperature=0.3, mix_positives=False, distance="l2"), _own("supremix_negatives", "mix")),
    "supremix without mixed negatives": (
        _supremix(mix_negatives=False, distance="none"), _own("supremix_positives", "mix")),
    "amcl hardest": (_amcl("hardest"), _own("amcl_hardest", *NET)),
    "amcl all": (_amcl("all"), _own("amcl_all", *NET)),
    "mixed_barlow_twins": (
        lambda *z: mixed_barlow_twins.mixed_barlow_twins_loss(*z, **MIX)[0], (SMALL[0], MIXED["out_total"], SMALL[3])),
    "mixed_barlow_twins imagenet": (
        lambda *z: mixed_barlow_twins.mixed_barlow_twins_loss(*z, **MIX, **IMAGENET)[0],
        (LARGE[0], LARGE[1] + LARGE[2], LARGE[3])),
    "hydra": (_hydra, (GATED, HYDRA["out_renorm_loss"], gated_gradients("renorm"))),
    "hydra later": (lambda *a: _hydra(*a, normalize_after=False), (
        GATED, HYDRA["out_gatesq_loss"], gated_gradients("gatesq"))),
    "hydra identical": (lambda *a: _hydra(*a, partners=HYDRA["in_y"]), (GATED, HYDRA["out_renorm_identical"], None)),
    "hydra open": (lambda *a: _hydra(*a, open_gate=True), (GATED, HYDRA["out_renorm_open"], None)),
    "hydra later, identical": (lambda *a: _hydra(*a, partners=HYDRA["in_y"], normalize_after=False), (
        GATED, HYDRA["out_gatesq_identical"], None)),
    "hydra later, open": (lambda *a: _hydra(*a, open_gate=True, normalize_after=False), (
        GATED, HYDRA["out_gatesq_open"], None)),
    "pairs of a batch weigh alike": (
        _pairs_alike, ([HYDRA["in_logits"]], HYDRA["out_multipos"], [HYDRA["grad_logits"]])),
    "sla": (_joint(1), ([JOINT], SLA["out_sla_loss"], [SLA["grad_sla_J"]])),
    "sla large": (_joint(4), ([JOINT], SLA["out_sla_large_loss"], [SLA["grad_sla_large_J"]])),
    **{
        f"sla distilled {tag}": (_self_distilled(temperature), (
            [SLA["in_J_hard"] if tag == "hard" else JOINT, HEADS], SLA[f"out_sd_{tag}_loss"],
            [SLA[f"grad_sd_{tag}_J"], SLA[f"grad_sd_{tag}_S"]]))
        for tag, temperature in (("T1", 1.0), ("T2", 2.0), ("hard", 1.0))
    },
    **{f"sirl {margin}": (functools.partial(sirl.triplet_similarity_loss, margin=margin), _sirl(margin))
       for margin in (0.5, 1.0, 5.0)},
    "preference": (lambda a: sirl.preference_loss(a, np.float32(SIRL["in_rB"]), np.float32(SIRL["in_pref"])), (
        [SIRL["in_rA"]], SIRL["out_pref_loss"], [SIRL["grad_rA"]])),
}  # fmt: skip


@pytest.fixture(scope="module")
def computed():
    """Values and gradients of all cases."""
    inputs = {name: [np.float32(x) for x in case[0]] for name, (_, case) in CASES.items()}

    def everything(inputs):
        out = {}
        for name, (loss, _) in CASES.items():
            own = inputs[name]
            total = lambda *x, loss=loss: (lambda v: (jnp.sum(v), v))(loss(*x))
            (_, value), gradients = jax.value_and_grad(total, argnums=tuple(range(len(own))), has_aux=True)(
                *own
            )
            out[name] = (value, gradients)
        return out

    return jax.jit(everything)(inputs)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, computed):
    value, gradients = computed[name]
    _, (_, expected, expected_gradients) = CASES[name]
    assert np.shape(value) == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6)
    for gradient, own in zip(gradients, expected_gradients or ()):
        np.testing.assert_allclose(gradient, own, rtol=2e-5, atol=2e-5 * np.abs(own).max() + 1e-7)


def test_the_parts_of_the_totals():
    inputs = [np.float32(x) for x in SMALL[0]]
    terms = mixed_barlow_twins.mixed_barlow_twins_loss(*inputs, **MIX)[1]
    np.testing.assert_allclose(terms.mixing * 4 / 128, MIXED["out_mix"], rtol=1e-5)
    for name in ("out_bt", "out_bt_nomix"):
        np.testing.assert_allclose(terms.invariance + terms.redundancy / 128, MIXED[name], rtol=1e-5)
    line = MIX["share"] * inputs[0] + (1 - MIX["share"]) * inputs[1][MIX["partner"]]
    terms = mixed_barlow_twins.mixed_barlow_twins_loss(*inputs[:2], line, **MIX)[1]
    np.testing.assert_allclose(terms.mixing * 4 / 128, MIXED["out_mix_linear"], rtol=1e-4)
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    np.testing.assert_allclose(
        mixed_barlow_twins.mix_samples(x, -x, **MIX), MIXED["out_xm"], rtol=1e-6, atol=1e-6
    )
    terms = room.vicreg_loss(OWN["in_vic1"], OWN["in_vic2"])[1]
    np.testing.assert_allclose(terms, OWN["out_vicreg_terms"], rtol=1e-5)
    center = room.dino_center_update(OWN["in_center"], OWN["in_teacher"])
    np.testing.assert_allclose(center, OWN["out_dino_center"], rtol=1e-5, atol=1e-7)


def test_the_gate_and_its_contrast():
    labels, partners = (HYDRA[name].astype(np.int32) for name in ("in_y", "in_posy"))
    gate = hydra.pair_gate(_gate(HYDRA["in_gate_label_embedding_weight"]), labels, partners)
    np.testing.assert_allclose(gate, HYDRA["out_gate"], rtol=1e-5, atol=1e-6)


def test_joint_labels_and_aggregation():
    labels = SLA["in_y"].astype(np.int32)
    np.testing.assert_array_equal(sla.joint_labels(labels, **COPIES), SLA["out_sla_joint_labels"])
    made = {
        name: [make(np.float32(SLA[name]), **COPIES) for make in (sla.aggregate_logits, sla.single_logits)]
        for name in ("in_J", "in_J_hard")
    }
    for tag in ("sla", "sla_large", "sd_T1", "sd_T2", "sd_hard"):
        aggregate, single = made["in_J_hard" if tag == "sd_hard" else "in_J"]
        np.testing.assert_allclose(aggregate, SLA[f"out_{tag}_agg"], rtol=1e-5, atol=1e-6)
        # With distillation theirs is what the single head says of the images as they are.
        expected = SLA["in_S"][::4] if tag.startswith("sd") else single
        np.testing.assert_allclose(SLA[f"out_{tag}_single"], expected, rtol=1e-6)
        np.testing.assert_array_equal(SLA[f"out_{tag}_joint_labels"], SLA["out_sla_joint_labels"])


def test_collapsed_triplets_cost_two_margins_without_gradient():
    zeros = np.zeros((3, 6), np.float32)
    value, gradient = jax.value_and_grad(lambda z: jnp.sum(sirl.triplet_similarity_loss(z, z, z)))(zeros)
    assert value == SIRL["out_collapse_m1.0"].sum() == 6
    assert not np.any(gradient)
