"""EV-WSSS: the authors' numbers, values and gradients; what must hold where nobody is sure; hand-worked pieces."""

import functools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import semi_supervised as ss
from jaxlab.semi_supervised import ev_wsss, prototype_memory
from tests.compiled import compiled_room

ss, ev_wsss, prototype_memory = map(compiled_room, (ss, ev_wsss, prototype_memory))

DATA = pathlib.Path(__file__).parents[1] / "golden"
K = 4


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "ev_wsss.npz"))


def last(x):
    """Channels last, float32."""
    return jnp.asarray(np.moveaxis(x, 1, -1), jnp.float32)


def branch(golden, name):
    queue = golden[f"in_queue{name}"]
    queues = prototype_memory.class_queues_init(K, 200, queue.shape[-1])
    queues = prototype_memory.class_queues_push(
        queues, jnp.float32(queue.transpose(1, 0, 2)), jnp.ones((queue.shape[1], K))
    )
    return ev_wsss.EvWsssBranch(
        logits=last(golden[f"in_p{name}"]),
        features=tuple(last(golden[f"in_f{name}{scale}"]) for scale in (2, 4, 8)),
        projections=tuple(
            (jnp.float32(golden[f"in_proj{name}{s}_w"].T), jnp.float32(golden[f"in_proj{name}{s}_b"]))
            for s in (2, 4, 8)
        ),
        queues=queues,
    )


@functools.partial(jax.jit, static_argnames=("authors_code", "exchanged"))
def graded(a, b, labels, started=1.0, authors_code=False, exchanged=True):
    """Loss, terms, queues, and the gradient for everything of the two students but their queues."""

    def loss(free):
        both = [x._replace(queues=x.queues, **y) for x, y in zip((a, b), free)]
        options = {"started": started, "authors_code": authors_code, "exchanged": exchanged}
        total, terms, queues = ev_wsss.ev_wsss_loss(*both, labels, where=labels != 255, **options)
        return total, (terms, queues)

    parts = lambda x: {name: getattr(x, name) for name in ("logits", "features", "projections")}
    (total, (terms, queues)), gradient = jax.value_and_grad(loss, has_aux=True)([parts(a), parts(b)])
    return total, terms, queues, gradient


@pytest.mark.parametrize("authors_code", [False, True])
def test_the_authors_numbers(golden, authors_code):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    total, terms, queues, gradient = graded(a, b, labels, authors_code=authors_code)
    pairs = {
        "total": total,
        "loss_seg_A": terms.point_a,
        "loss_seg_B": terms.point_b,
        "loss_dual": terms.dual,
        "loss_proto_A": 0.5 * terms.prototype_a,
        "loss_proto_B": 0.5 * terms.prototype_b,
        "loss_distill": 6 * terms.distillation,
    }
    for name, value in pairs.items():
        np.testing.assert_allclose(value, golden[f"out_e2_{name}"], rtol=1e-5, err_msg=name)
    gradients = {
        "pA": gradient[0]["logits"],
        "pB": gradient[1]["logits"],
        "fA8": gradient[0]["features"][2],
        "fB8": gradient[1]["features"][2],
        "fA2": gradient[0]["features"][0],
    }
    for name, value in gradients.items():
        expected = np.moveaxis(golden[f"grad_e2_{name}"], 1, -1)
        np.testing.assert_allclose(
            value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=name
        )
    np.testing.assert_array_equal(queues[0].filled, golden["out_queue_len_A"])
    newest = [q.items[jnp.arange(K), q.cursor - 1] for q in queues]
    np.testing.assert_allclose(newest[0], golden["out_new_proto_A"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(newest[1], golden["out_new_proto_B"], rtol=1e-5, atol=1e-6)


def test_before_the_prototypes_begin(golden):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    total, terms, queues, gradient = graded(a, b, labels, started=0.0)
    np.testing.assert_allclose(total, golden["out_e0_total"], rtol=1e-5)
    np.testing.assert_allclose(6 * terms.distillation, golden["out_e0_loss_distill"], rtol=1e-5)
    np.testing.assert_allclose(terms.dual, golden["out_e0_loss_dual"], rtol=1e-5)
    for name, own in zip("AB", gradient):
        expected = np.moveaxis(golden[f"grad_e0_p{name}"], 1, -1)
        np.testing.assert_allclose(own["logits"], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        # The pull to prototypes, which their code does not compute yet, is not added.
        assert golden[f"out_e0_loss_proto_{name}"] == 0
    chex.assert_trees_all_equal(queues, (a.queues, b.queues))


def test_a_weight_of_zero_leaves_a_term_out(golden):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    off = {"dual_weight": 0.0, "prototype_weight": 0, "distillation_weight": 0.0}
    total, terms, queues = jax.jit(lambda: ev_wsss.ev_wsss_loss(a, b, labels, where=labels != 255, **off))()
    np.testing.assert_allclose(total, golden["out_e0_loss_seg_A"] + golden["out_e0_loss_seg_B"], rtol=1e-5)
    assert float(terms.dual) == float(terms.prototype_a) == float(terms.distillation) == 0
    chex.assert_trees_all_equal(queues, (a.queues, b.queues))


@pytest.mark.parametrize("authors_code", [False, True])
@pytest.mark.parametrize("case", ["no label", "nobody is sure", "nothing remembered", "huge"])
def test_finite_where_there_is_nothing_to_learn_from(golden, case, authors_code):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    if case == "no label":
        labels = jnp.full_like(labels, 255)
    if case == "nobody is sure":
        a, b = (x._replace(logits=0 * x.logits) for x in (a, b))
    if case == "nothing remembered":
        a, b = (x._replace(queues=prototype_memory.class_queues_init(K, 200, 5)) for x in (a, b))
    if case == "huge":
        a, b = (x._replace(logits=1e4 * jnp.sign(x.logits)) for x in (a, b))
    total, terms, _, gradient = graded(a, b, labels, authors_code=authors_code)
    assert np.isfinite(total)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((terms, gradient)))
    if case == "no label":
        assert terms.point_a == terms.dual == 0
    if case in ("no label", "nobody is sure"):
        assert terms.prototype_a == terms.prototype_b == 0


def test_one_silent_image_silences_the_authors_batch_but_not_ours(golden):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    unsure = a._replace(logits=a.logits.at[1].set(0.0))
    _, terms, _, _ = graded(unsure, b, labels)
    _, theirs, _, _ = graded(unsure, b, labels, authors_code=True)
    assert terms.dual > 0
    assert theirs.dual == 0


def test_their_prototype_loss_waits_for_the_last_class_alone():
    # Class 0 alone is remembered, then class 1 alone; both pixels are of class 0, which both prototypes fit badly.
    features, unit = jnp.array([[0.0, 1.0], [0.0, 1.0]]), jnp.eye(2)
    pseudo = ss.PseudoLabels(jnp.zeros(2, jnp.int32), jnp.ones(2), jnp.ones(2, bool))
    only = lambda c: (unit * (jnp.arange(2) == c)[:, None], jnp.arange(2) == c)
    loss = lambda own, **options: float(
        ev_wsss.prototype_exchange_loss(features, pseudo, own, None, **options)
    )
    # Ours: one class seen is no choice, so log 1 = 0; a label without a prototype does not count.
    assert loss(only(0)) == loss(only(1)) == 0
    # Theirs: nothing while the last class is missing; then cos 1 of class 1 against 0 of the zero vector, over 0.1.
    assert loss(only(0), authors_code=True) == 0
    np.testing.assert_allclose(loss(only(1), authors_code=True), np.log1p(np.exp(10.0)), rtol=1e-5)


def test_received_prototypes_train_the_projection_and_own_ones_do_not(golden):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    with_exchange, without = (graded(a, b, labels, exchanged=on)[3] for on in (True, False))
    # The distillation reaches the projection in both; the exchange adds to it.
    assert np.abs(with_exchange[0]["projections"][2][0] - without[0]["projections"][2][0]).max() > 1e-3
    np.testing.assert_array_equal(with_exchange[0]["projections"][0][0], without[0]["projections"][0][0])


def test_region_prototypes_by_hand():
    # Image 0: pixels (3, 4) at 0.9 and (1, 0) at 0.8 of class 0: 0.9 (3, 4) + 0.8 (1, 0) = (3.5, 3.6); class 1 at
    # 0.7 is not above 0.7. Image 1: class 0 at 0.9 alone, mass 0.9, too little; class 1 is not in it.
    features = jnp.array([[[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]], [[0.0, 1.0], [5.0, 5.0], [5.0, 5.0]]])
    probs = jnp.array([[[0.9, 0.0], [0.8, 0.2], [0.3, 0.7]], [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]])
    present = jnp.array([[1, 1], [1, 0]])
    made, valid = prototype_memory.region_prototypes(features, probs, present, min_mass=1.0)
    np.testing.assert_array_equal(valid, [[True, False], [False, False]])
    np.testing.assert_allclose(made[0, 0], np.array([3.5, 3.6]) / np.hypot(3.5, 3.6), rtol=1e-5)
    np.testing.assert_array_equal(made[1], np.zeros((2, 2)))
    # Masked pixels are pixels that are not there, whatever they hold.
    where = jnp.array([[1, 0, 1], [1, 1, 1]])
    masked, _ = prototype_memory.region_prototypes(
        features.at[0, 1].set(jnp.nan), probs.at[0, 1].set(jnp.nan), present, min_mass=0.5, where=where
    )
    np.testing.assert_allclose(masked[0, 0], [0.6, 0.8], rtol=1e-5)


def test_class_queues_by_hand():
    queues = prototype_memory.class_queues_init(2, 2, 1)
    push = lambda q, values, valid: prototype_memory.class_queues_push(
        q, jnp.float32(values)[:, :, None], jnp.array(valid)
    )
    # Three images; class 0 gets 1, 2, 3 and forgets the 1, class 1 gets -5 alone.
    queues = push(queues, [[1, 9], [2, -5], [3, 9]], [[1, 0], [1, 1], [1, 0]])
    np.testing.assert_array_equal(queues.filled, [2, 1])
    assert sorted(queues.items[0, :, 0].tolist()) == [2, 3]
    means, seen = prototype_memory.class_queue_means(queues, min_items=1)
    np.testing.assert_array_equal(seen, [True, False])
    np.testing.assert_allclose(means[:, 0], [1, 0])
    means, seen = prototype_memory.class_queue_means(queues, min_items=0)
    np.testing.assert_allclose(means[:, 0], [1, -1])
    assert not prototype_memory.class_queue_means(prototype_memory.class_queues_init(2, 2, 1), min_items=0)[
        1
    ].any()


def test_prototype_cross_entropy_by_hand():
    # Cosines 0.6 and 0.8 at temperature 0.2: logits 3 and 4; the third class is not seen.
    feature, prototypes = jnp.array([[3.0, 4.0]]), jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    loss = lambda label, **options: prototype_memory.prototype_cross_entropy(
        feature, jnp.array([label]), prototypes, temperature=0.2, **options
    )
    seen = jnp.array([1, 1, 0])
    np.testing.assert_allclose(loss(0, seen=seen), [np.log1p(np.e)], rtol=1e-5)
    np.testing.assert_allclose(loss(1, seen=seen), [np.log1p(np.exp(-1.0))], rtol=1e-5)
    assert loss(2, seen=seen) == loss(255, seen=seen, where=jnp.array([0])) == 0
    assert loss(0) > loss(0, seen=seen)


def test_feature_distance_by_hand():
    # Directions (0.6, 0.8) and (1, 0): (0.4 + 0.8) / 2. No gradient to the target; masked NaN stays out.
    f, g = jnp.array([[3.0, 4.0], [jnp.nan, 0.0]]), jnp.array([[2.0, 0.0], [1.0, 1.0]])
    where = jnp.array([1, 0])
    value, (to_f, to_g) = jax.value_and_grad(
        lambda f, g: prototype_memory.feature_distance(f, g, where=where).sum(), argnums=(0, 1)
    )(f, g)
    np.testing.assert_allclose(value, 0.6, rtol=1e-6)
    assert np.isfinite(to_f).all()
    np.testing.assert_array_equal(to_f[1], [0, 0])
    np.testing.assert_array_equal(to_g, np.zeros((2, 2)))


def test_classes_in_labels():
    labels = jnp.array([[[0, 2], [255, -1]], [[1, 1], [1, 1]]])
    got = ev_wsss.classes_in_labels(
        labels, num_classes=3, where=jnp.array([[[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    )
    np.testing.assert_array_equal(got, [[True, False, True], [False, False, False]])


def test_half_precision_and_float64(golden):
    a, b, labels = branch(golden, "A"), branch(golden, "B"), jnp.asarray(golden["in_labels"], jnp.int32)
    loss = lambda a, b: ev_wsss.ev_wsss_loss(a, b, labels, where=labels != 255)[0]
    narrow = lambda x: x._replace(logits=x.logits.astype(jnp.bfloat16))
    value = jax.jit(loss)(narrow(a), narrow(b))
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    with jax.enable_x64(True):
        wide = lambda x: jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf, x
        )
        assert jax.eval_shape(loss, wide(a), wide(b)).dtype == jnp.float64


def test_errors_are_one_line(golden):
    a, labels = branch(golden, "A"), jnp.asarray(golden["in_labels"], jnp.int32)
    cases = [
        (
            lambda: ev_wsss.ev_wsss_loss(a, a._replace(logits=a.logits[:1]), labels, where=True),
            "both the same",
        ),
        (lambda: ev_wsss.ev_wsss_loss(a, a, labels[:1], where=True), "leading shape"),
        (
            lambda: ev_wsss.ev_wsss_loss(a, a._replace(features=()), labels, where=True),
            "one projection per map",
        ),
        (
            lambda: prototype_memory.region_prototypes(
                jnp.ones((2, 3, 4)), jnp.ones((2, 2, 5)), jnp.ones((2, 5))
            ),
            "same pixels",
        ),
        (
            lambda: prototype_memory.region_prototypes(
                jnp.ones((2, 3, 4)), jnp.ones((2, 3, 5)), jnp.ones((2, 4))
            ),
            r"\[B, K\]",
        ),
        (
            lambda: prototype_memory.class_queues_push(a.queues, jnp.ones((2, 3, 5)), jnp.ones((2, 3))),
            r"must be \[B, 4, 5\]",
        ),
        (
            lambda: prototype_memory.prototype_cross_entropy(jnp.ones((3, 2)), jnp.zeros(2, int), jnp.eye(2)),
            "leading shape",
        ),
        (
            lambda: prototype_memory.prototype_cross_entropy(
                jnp.eye(2), jnp.zeros(2, int), jnp.eye(2), seen=jnp.ones(3)
            ),
            r"\[K\]",
        ),
        (lambda: prototype_memory.feature_distance(jnp.ones((3, 2)), jnp.ones((3, 3))), "same shape"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as info:
            call()
        assert "\n" not in str(info.value)
