"""Losses of views and pairs by hand, as cases of each other, and what changes nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import self_supervised as room
from jaxlab.core import nt_xent, supcon_loss
from jaxlab.metrics import effective_rank
from jaxlab.self_supervised import amcl, hydra, mixed_barlow_twins, sla, supremix
from tests.compiled import compiled, compiled_room

nt_xent, supcon_loss = map(compiled, (nt_xent, supcon_loss))
room, amcl, hydra, mixed_barlow_twins, sla, supremix = map(
    compiled_room, (room, amcl, hydra, mixed_barlow_twins, sla, supremix)
)

RNG = np.random.default_rng(0)
VIEWS = RNG.normal(size=(3, 6, 4)).astype(np.float32)
X, Y = VIEWS[:2]
LABELS = np.array([0, 1, 0, 2, 1, 0], np.int32)
ONES = np.ones((6, 4), np.float32)
near = np.testing.assert_allclose


def test_one_head_one_temperature_and_no_penalty_is_nt_xent():
    options = {"beta": 0.0, "against": "all", "with_positive": True}
    near(
        amcl.adaptive_multi_head_loss(X[None], Y[None], 0.3, **options),
        nt_xent(X, Y, temperature=0.3),
        rtol=1e-5,
    )
    # Heads add up; the penalty of one temperature for all cancels; at low temperatures the hardest is all that counts.
    two = amcl.adaptive_multi_head_loss(np.stack([X, X]), np.stack([Y, Y]), 0.3, **options)
    near(two, 2 * nt_xent(X, Y, temperature=0.3), rtol=1e-5)
    hardest = amcl.adaptive_multi_head_loss(X[None], Y[None], 0.01, beta=0.7)
    near(amcl.adaptive_multi_head_loss(X[None], Y[None], 0.01, beta=0.0), hardest, rtol=1e-4)
    near(amcl.adaptive_multi_head_loss(X[None], Y[None], 0.01, beta=0.0, against="all"), hardest, atol=0.8)
    apart = np.eye(4, dtype=np.float32)[:2]  # the positive is nearest, at cosine 1
    near(
        amcl.adaptive_multi_head_loss(apart[None], apart[None], 0.5, with_positive=True),
        [0, 0],
        atol=1e-6,
    )


def test_the_penalty_is_least_where_the_variance_is_that_of_the_dimension():
    taus = np.linspace(0.05, 1, 400).astype(np.float32)
    penalty = amcl.temperature_penalty(taus, dim=8)
    near(taus[np.argmin(penalty)], 2 / 8, atol=3e-3)
    near(jax.grad(lambda tau: amcl.temperature_penalty(tau, dim=8))(0.25), 0, atol=1e-5)


def test_temperatures_of_heads_by_their_own_nets():
    params = amcl.pair_temperature_init(jax.random.key(0), dim=4, hidden=5, heads=2)
    found = amcl.pair_temperature(params, VIEWS[:2], VIEWS[1:], low=0.1, high=0.9)
    own = [jax.tree.map(lambda p, head=head: p[head], params) for head in range(2)]
    each = [amcl.pair_temperature(own[h], VIEWS[h], VIEWS[1 + h], low=0.1, high=0.9) for h in range(2)]
    near(found, each, rtol=1e-5)
    assert ((found > 0.1) & (found < 0.9)).all()


def test_two_views_are_dhel_and_pairs_are_nt_xent():
    near(room.mv_dhel(VIEWS[:2], temperature=0.3), room.dhel(X, Y, temperature=0.3), rtol=1e-6)
    near(room.pairwise_nt_xent(VIEWS[:2]), nt_xent(X, Y), rtol=1e-6)
    # One ratio for both anchors is not the mean of two.
    assert np.abs(room.mv_infonce(VIEWS[:2]) - nt_xent(X, Y)).max() > 0.05
    units = X / np.linalg.norm(X, axis=1, keepdims=True), Y / np.linalg.norm(Y, axis=1, keepdims=True)
    spread = [np.log([np.sum(np.exp(np.delete(u @ u[i], i) / 0.3)) for i in range(6)]) for u in units]
    near(room.dhel(X, Y, temperature=0.3), sum(spread) - (units[0] * units[1]).sum(1) / 0.3, rtol=1e-4)


def test_baselines_of_many_views_by_loops():
    t, units = 0.3, VIEWS / np.linalg.norm(VIEWS, axis=-1, keepdims=True)
    e = np.exp(np.einsum("knd,lmd->knlm", units, units) / t)
    pairs = list(itertools.permutations(range(3), 2))
    all_of = [[e[k, i].sum() - e[k, i, k, i] for i in range(6)] for k in range(3)]
    others = lambda k, i: e[k, i].sum() - e[k, i, :, i].sum()
    found = lambda k, m, i: e[k, i, m, i] / (e[k, i, m, i] + others(k, i))
    by_view = lambda k, i: np.mean([found(k, m, i) for m in range(3) if m != k])
    expected = {
        "many": [-np.mean([np.log(e[k, i, m, i] / all_of[k][i]) for k, m in pairs]) for i in range(6)],
        "poly": [-np.mean([np.log(found(k, m, i)) for k, m in pairs]) for i in range(6)],
        "arithmetic": [-np.mean([np.log(by_view(k, i)) for k in range(3)]) for i in range(6)],
        "mean": np.zeros(6),
        "decoupled": np.zeros(6),
    }
    for k in range(3):
        x, y = units[k], (units.sum(0) - units[k]) / 2  # shorter than 1
        xx, yy, xy = (np.exp(a @ b.T / t) for a, b in ((x, x), (y, y), (x, y)))
        away, own = lambda s: s.sum(1) - np.diag(s), np.diag(xy)
        expected["mean"] -= (np.log(own / (away(xx) + xy.sum(1))) + np.log(own / (away(yy) + xy.sum(0)))) / 6
        expected["decoupled"] -= np.log(own / (away(xx) * away(yy))) / 3

    @jax.jit
    def of(views):
        return {
            "many": room.multi_positive_nt_xent(views, temperature=t),
            "poly": room.poly_view_loss(views, temperature=t),
            "arithmetic": room.poly_view_loss(views, temperature=t, mean="arithmetic"),
            "mean": room.mean_view_contrast(views, temperature=t),
            "decoupled": room.mean_view_contrast(views, temperature=t, decoupled=True),
            "pairs": room.pairwise_dhel(views, temperature=t),
            "each": [
                room.dhel(views[k], views[m], temperature=t) for k, m in itertools.combinations(range(3), 2)
            ],
        }

    made = of(VIEWS)
    for name, values in expected.items():
        near(made[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    near(made["pairs"], np.mean(made["each"], 0), rtol=1e-5)
    for loss in (room.multi_positive_nt_xent, room.mean_view_contrast):  # of two views
        near(loss(VIEWS[:2]), nt_xent(X, Y), rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "mv_infonce",
        "mv_dhel",
        "pairwise_nt_xent",
        "multi_positive_nt_xent",
        "poly_view_loss",
        "mean_view_contrast",
    ],
)
def test_order_of_views_and_examples_and_lengths_change_nothing(name):
    loss = jax.jit(getattr(room, name))
    value = loss(VIEWS)
    for order in itertools.permutations(range(3)):
        near(loss(VIEWS[list(order)]), value, rtol=1e-5)
    order, lengths = RNG.permutation(6), RNG.uniform(0.1, 9, (3, 6, 1)).astype(np.float32)
    near(loss(VIEWS[:, order]), value[order], rtol=1e-5)
    near(loss(lengths * VIEWS), value, rtol=1e-4)
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0].astype(np.float32)
    near(loss(VIEWS @ turn), value, rtol=1e-4, atol=1e-5)
    near(loss(VIEWS[:, :1]), [0])  # alone


def test_without_mixtures_and_weights_it_is_the_supervised_contrast():
    options = {"window": 2.0, "mix_negatives": False, "mix_positives": False, "distance": "none"}
    share = np.zeros((6, 6), np.float32)
    near(
        supremix.hard_mixture_loss(X, LABELS * 1.0, share, temperature=0.3, **options),
        supcon_loss(X, LABELS, temperature=0.3),
        rtol=1e-5,
    )
    # A class of one member between two others has mixed positives alone; at an end, and without partner, none.
    targets = np.float32([1, 1, 2, 3, 3, 9])
    value = supremix.hard_mixture_loss(X, targets, share, window=2.0)
    assert value[2] > 0
    assert value[5] == 0
    # All of one target: all pairs are positive, and nothing is mixed.
    value = supremix.hard_mixture_loss(X, np.zeros(6, np.float32), share, window=2.0, temperature=0.3)
    near(value, supcon_loss(X, 0 * LABELS, temperature=0.3), rtol=1e-5)


@pytest.mark.parametrize("distance", ["l1", "l2", "none"])
@pytest.mark.parametrize(("negatives", "positives"), [(True, True), (True, False), (False, True)])
def test_the_authors_mixtures_and_their_two_scales(negatives, positives, distance):
    """All N^2 mixtures of a row stand in a list, the excluded as zeros; real and mixed logits lose a peak each."""
    t, share = np.array([0, 2, 0, 3, 1, 2], np.float32), RNG.beta(2, 8, size=(6, 6)).astype(np.float32)
    z = X / np.linalg.norm(X, axis=1, keepdims=True)
    weigh = {"l1": lambda gap: abs(gap) + 1, "l2": lambda gap: gap**2 + 1, "none": lambda gap: 1.0}[distance]
    late = 1.0 if distance == "l2" else 0.0
    expected = []
    for i in range(6):
        real = [(z[i] @ z[j] / 0.5, weigh(t[i] - t[j]), j != i, j != i and t[i] == t[j]) for j in range(6)]
        mixed = []
        for j, k in itertools.product(range(6), range(6)):
            negative, positive = j == i and t[k] != t[i], t[j] < t[i] < t[k] and t[k] - t[i] < 2 > t[i] - t[j]
            vector, target = np.zeros(4), 0.0
            if (negative and negatives) or (positive and positives):
                own = share[i, k] if negative else (t[k] - t[i]) / (t[k] - t[j])
                vector, target = own * z[j] + (1 - own) * z[k], own * t[j] + (1 - own) * t[k]
            mixed.append((z[i] @ vector / 0.5, weigh(t[i] - target + late), negative or positive, positive))
        rows = [
            (s - max(group)[0], w, exists, good) for group in (real, mixed) for s, w, exists, good in group
        ]
        total = np.log(sum(np.exp(s) * w for s, w, exists, _ in rows if exists))
        expected.append(np.mean([total - s for s, _, _, good in rows if good] or [0.0]))
    found = supremix.hard_mixture_loss(
        X, t, share, window=2.0, distance=distance, mix_negatives=negatives, mix_positives=positives,
        authors_code=True)  # fmt: skip
    near(found, expected, rtol=1e-5)


def test_gates_by_hand():
    # A closed dimension does not count, at whatever length; the order of the labels does not either.
    gate = np.float32([1, 1, 0, 1]) * ONES
    moved = X + np.float32([0, 0, 9, 0])
    near(hydra.gated_cosine(moved, moved, gate), hydra.gated_cosine(X, X, gate), rtol=1e-4, atol=1e-5)
    near(hydra.gated_cosine(X, Y, ONES), hydra.gated_cosine(X, Y, 0.3 * ONES), rtol=1e-5)
    params = hydra.pair_gate_init(jax.random.key(0), num_classes=3, dim=4, embedding=5, hidden=6)
    near(
        hydra.pair_gate(params, LABELS, LABELS[::-1]),
        hydra.pair_gate(params, LABELS[::-1], LABELS),
        rtol=1e-6,
    )
    assert np.all(hydra.gated_cosine(X, Y, 0 * ONES) == 0)


def test_pairs_of_classes_by_hand():
    # Rows of classes 0, 1, 2; the first one's partner is 1. Positive: row 1. Negative: row 2. Neither: itself.
    z = np.float32([[1, 0], [0, 1], [-1, 0]])
    labels, partners = np.array([0, 1, 2], np.int32), np.array([1, 0, 2], np.int32)
    loss = hydra.gated_positive_loss(z, np.ones((3, 2)), labels, partners, temperature=1.0)
    terms = [np.log1p(np.exp(-1 - 0)), np.log1p(np.exp(0 - 0)), np.log(1 + np.exp(-1 - 1) + np.exp(0 - 1))]
    near(loss, np.mean(terms), rtol=1e-5)
    # One class: all pairs are positive and nothing is negative. No positive at all: 0 as well.
    alike = hydra.gated_positive_loss(z, np.ones((3, 2)), 0 * labels, 0 * labels)
    absent = hydra.gated_positive_loss(z, np.ones((3, 2)), labels, labels + 5)
    assert (alike, absent) == (0, 0)


def test_mixtures_of_a_pair_and_of_examples_with_themselves():
    share, partner = 0.25, np.arange(6, dtype=np.int32)
    near(
        mixed_barlow_twins.mix_samples(X, Y, share=share, partner=partner),
        0.25 * X + 0.75 * Y,
        rtol=1e-6,
    )
    # All of the first view: the mixture's correlations are its own.
    loss, terms = mixed_barlow_twins.mixed_barlow_twins_loss(X, Y, X, share=1.0, partner=partner)
    assert isinstance(terms, mixed_barlow_twins.MixedBarlowTwinsTerms)
    near(terms.mixing, 0, atol=1e-5)
    near(loss, terms.invariance + terms.redundancy / 128, rtol=1e-5)
    own, authors = (
        mixed_barlow_twins.mixed_barlow_twins_loss(X, Y, Y, share=0.5, partner=LABELS, authors_code=code)[
            1
        ].mixing
        for code in (False, True)
    )
    assert abs(own - authors) > 1e-2


def test_dino_leaves_out_the_pair_of_one_view():
    """Two views that the teacher sees and one that it does not: four pairs of the six."""
    student, teacher = VIEWS, VIEWS[:2] + 1
    log_probs = jax.nn.log_softmax(student / 0.1)
    targets = jax.nn.softmax((teacher - X[0]) / 0.04)
    pairs = [-(targets[g] * log_probs[k]).sum(-1) for g in range(2) for k in range(3) if k != g]
    near(room.dino_loss(student, teacher, X[0]), np.mean(pairs, axis=0), rtol=1e-5)
    near(room.dino_center_update(X[0], teacher, where=np.zeros(6)), X[0])


def test_vicreg_by_hand():
    # Spread 1 each and uncorrelated: nothing but the distance. Equal features: their covariance.
    z = np.float32([[1, 1], [-1, 1], [1, -1], [-1, -1]]) * np.sqrt(3 / 4).astype(np.float32)
    loss, terms = room.vicreg_loss(z, z + 2, eps=0.0)
    assert isinstance(terms, room.VICRegTerms)
    near(terms, [4, 0, 0], atol=1e-6)
    near(loss, 100, rtol=1e-6)
    twice = z[:, [0, 0]]
    near(room.vicreg_loss(twice, twice)[1].covariance, 2 * (2 * 1) / 2, rtol=1e-5)
    near(room.vicreg_loss(ONES, ONES, eps=0.0)[1].variance, 1)  # no spread at all


def test_joint_labels_of_ignored_images():
    joint = RNG.normal(size=(6, 4)).astype(np.float32)
    labels = np.array([1, -1, 0], np.int32)
    loss, terms = sla.self_distilled_loss(joint, joint[::2, :2], labels, copies=2)
    assert isinstance(terms, sla.LabelAugmentationTerms)
    assert loss[1] == 0
    np.testing.assert_array_equal(sla.joint_labels(labels, copies=2), [2, 3, -1, -1, 0, 1])
    near(terms.joint, sla.joint_label_loss(joint, labels, copies=2), rtol=1e-6)


def test_decoupled_contrast_keeps_more_directions_of_six_views():
    """The paper's own claim in small: noisy views of factors of very different strength, seen by a linear map."""
    factors = RNG.normal(size=(96, 8)).astype(np.float32) * np.geomspace(3, 0.3, 8, dtype=np.float32)
    begin, adam = RNG.normal(size=(8, 8)).astype(np.float32), optax.adam(2e-2)

    def learn(loss):
        def step(carry, key):
            w, state = carry
            views = factors + 0.3 * jax.random.normal(key, (6, *factors.shape))
            gradient = jax.grad(lambda w: jnp.mean(loss(views @ w, temperature=0.2)))(w)
            updates, state = adam.update(gradient, state)
            return (w + updates, state), None

        (w, _), _ = jax.lax.scan(step, (begin, adam.init(begin)), jax.random.split(jax.random.key(0), 100))
        z = factors @ w
        return effective_rank(z / jnp.linalg.norm(z, axis=1, keepdims=True))

    joint, decoupled = jax.jit(lambda: [learn(loss) for loss in (room.mv_infonce, room.mv_dhel)])()
    assert decoupled > joint + 0.3
