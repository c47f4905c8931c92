"""Overlap of boxes, turned ones too; points inside; a scene mirrored, turned and scaled."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import semi_supervised as ss

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "hssda.npz"))
aligned, rotated = jax.jit(ss.axis_aligned_iou), jax.jit(ss.bev_iou)


def _boxes(key, count):
    """Random boxes that often overlap."""
    centre, extent, heading = jax.random.split(key, 3)
    return jnp.concatenate(
        [
            jax.random.uniform(centre, (count, 2), minval=-1.5, maxval=1.5),
            jax.random.uniform(extent, (count, 2), minval=0.5, maxval=3.0),
            jax.random.uniform(heading, (count, 1), minval=-7.0, maxval=7.0),
        ],
        axis=1,
    )


A, B = _boxes(jax.random.key(0), 6), _boxes(jax.random.key(1), 7)


def test_aligned_by_hand():
    # [0, 2] x [0, 2] and [1, 4] x [0, 1]: overlap 1, union 4 + 3 - 1 = 6.
    box, others = jnp.array([[1.0, 1.0, 2.0, 2.0]]), jnp.array([[2.5, 0.5, 3.0, 1.0], [5.0, 5.0, 1.0, 1.0]])
    np.testing.assert_allclose(aligned(box, others), [[1 / 6, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(aligned(others, others), np.eye(2), rtol=1e-6)


def test_rotated_by_hand():
    square = jnp.array([[0.0, 0.0, 2.0, 2.0, 0.0]])
    others = jnp.array(
        [
            [0.0, 0.0, 2.0, 2.0, np.pi / 4],  # octagon of area 8 (sqrt(2) - 1) = 3.313708: / (8 - 3.313708)
            [0.0, 0.0, 2.0, 2.0, np.pi / 2],  # the same square
            [1.0, 0.0, 2.0, 2.0, np.pi],  # half of it: 2 / 6
            [2.0, 0.0, 2.0, 2.0, 0.0],  # touches along a side
            [0.0, 0.0, 1.0, 1.0, 0.3],  # inside: 1 / 4
            [0.0, 0.0, 8.0, 8.0, 1.1],  # around: 4 / 64
            # A diamond whose left corner is at x = 0.5: within the square a triangle of base and height 0.5 below
            # a right angle at that corner, area 0.5^2 = 0.25; / (4 + 4 - 0.25).
            [0.5 + np.sqrt(2), 0.0, 2.0, 2.0, np.pi / 4],
            [9.0, 0.0, 2.0, 2.0, 0.7],  # far away
        ]
    )
    expected = [3.313708 / 4.686292, 1.0, 1 / 3, 0.0, 0.25, 1 / 16, 0.25 / 7.75, 0.0]
    np.testing.assert_allclose(rotated(square, others)[0], expected, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(rotated(others, square)[:, 0], expected, rtol=2e-6, atol=1e-6)


def test_rotated_is_what_random_points_say():
    """Monte Carlo: 200,000 points, so the share of a box of 1/36 of the area has a deviation below 0.0004."""
    points = jax.random.uniform(jax.random.key(2), (200_000, 2), minval=-4.0, maxval=4.0)
    in_a, in_b = (np.asarray(ss.points_in_boxes(points, x)) for x in (A, B))
    both = (in_a[:, :, None] & in_b[:, None, :]).mean(0)
    either = (in_a[:, :, None] | in_b[:, None, :]).mean(0)
    np.testing.assert_allclose(rotated(A, B), both / either, atol=0.02)


def test_rotated_equals_aligned_without_a_heading_and_is_symmetric():
    flat, others = A.at[:, 4].set(0.0), B.at[:, 4].set(jnp.pi)
    np.testing.assert_allclose(rotated(flat, others), aligned(A[:, :4], B[:, :4]), atol=2e-6)
    np.testing.assert_allclose(rotated(A, B), rotated(B, A).T, atol=2e-6)
    np.testing.assert_allclose(np.diag(rotated(A, A)), 1.0, rtol=1e-5)
    # Turning, mirroring and scaling both changes nothing.
    change = {"flip": True, "rotation": 0.7, "scale": 1.3}
    moved = rotated(ss.transform_boxes(A, **change), ss.transform_boxes(B, **change))
    np.testing.assert_allclose(moved, rotated(A, B), atol=3e-6)


def test_gradients_are_right():
    with jax.enable_x64(True):
        a, b, way = (jnp.float64(x) for x in (A[:3], B[:3], jax.random.normal(jax.random.key(5), (3, 5))))
        for iou, cut in ((ss.bev_iou, 5), (ss.axis_aligned_iou, 4)):
            cut = slice(cut)
            total = jax.jit(lambda a, b, iou=iou: (iou(a, b) * jnp.arange(1.0, 10).reshape(3, 3)).sum())
            slope = jnp.vdot(jax.jit(jax.grad(total))(a[:, cut], b[:, cut]), way[:, cut])
            ahead, behind = (total((a + step * way)[:, cut], b[:, cut]) for step in (1e-6, -1e-6))
            np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("iou", [ss.bev_iou, ss.axis_aligned_iou])
def test_degenerate_boxes_overlap_nothing_and_give_finite_gradients(iou):
    cut = 5 if iou is ss.bev_iou else 4
    both = jax.jit(jax.value_and_grad(lambda x: iou(x, x).sum()))
    for boxes in (jnp.zeros((6, 5)), -jnp.ones((6, 5)), A.at[:, 2].set(0.0)):
        value, grads = both(boxes[:, :cut])
        assert value == 0
        assert np.isfinite(grads).all()
    assert np.isfinite(both(jnp.full((6, 5), 1e4)[:, :cut])[1]).all()


def test_any_number_of_boxes_and_scenes():
    shape = lambda a, b: jax.eval_shape(ss.bev_iou, a, b).shape
    assert shape(A[:0], B) == (0, 7)
    assert shape(jnp.stack([A, A]), jnp.stack([B, B])) == (2, 6, 7)
    assert jax.eval_shape(ss.bev_iou, A.astype(jnp.bfloat16), B.astype(jnp.bfloat16)).dtype == jnp.float32
    batch = jax.vmap(aligned)(jnp.stack([A, B[:6]])[..., :4], jnp.stack([B, B])[..., :4])
    np.testing.assert_allclose(batch[1, :6, :6].diagonal(), 1.0, rtol=1e-6)


def test_points_in_boxes():
    # A box of 4 x 2 turned by 90 degrees spans x in [-1, 1], y in [-2, 2].
    points = jnp.array([[0.0, 1.9], [1.9, 0.0], [1.0, 2.0], [0.0, 0.0]])
    boxes = jnp.array([[0.0, 0.0, 4.0, 2.0, jnp.pi / 2]])
    got = ss.points_in_boxes(points, boxes, where=jnp.array([1, 1, 1, 0]))
    assert got[:2, 0].tolist() == [True, False]
    assert got[3, 0].item() is False
    assert ss.points_in_boxes(points, jnp.array([[0.0, 0.0, 4.0, 2.0]]))[:, 0].tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_scenes_transform_as_in_the_authors_code():
    boxes = jnp.float32(GOLDEN["in_boxes"])
    flipped = ss.transform_boxes(boxes, flip=True)
    turned = ss.transform_boxes(boxes, flip=True, rotation=float(GOLDEN["in_rot"]))
    scaled = ss.transform_boxes(
        boxes, flip=True, rotation=float(GOLDEN["in_rot"]), scale=float(GOLDEN["in_sca"])
    )
    for got, name in ((flipped, "flip"), (turned, "rot"), (scaled, "scale")):
        np.testing.assert_allclose(got, GOLDEN[f"out_{name}"], rtol=1e-5, atol=1e-5)


def test_points_move_with_their_boxes():
    points = jax.random.uniform(jax.random.key(3), (2, 50, 4), minval=-2.0, maxval=2.0)
    boxes = jnp.stack([A, A])
    change = {
        "flip": jnp.array([True, False]),
        "rotation": jnp.array([0.5, -2.0]),
        "scale": jnp.array([1.1, 0.9]),
    }
    before = ss.points_in_boxes(points, boxes)
    moved = ss.transform_points(points, **change)
    np.testing.assert_array_equal(ss.points_in_boxes(moved, ss.transform_boxes(boxes, **change)), before)
    np.testing.assert_array_equal(moved[..., 3], points[..., 3])  # reflectance stays, height scales
    np.testing.assert_allclose(moved[0, :, 2], 1.1 * points[0, :, 2], rtol=1e-6)
    assert before.any()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"boxes \(6, 5\) and others \(7, 5\) must be .* with D 4"):
        ss.axis_aligned_iou(A, B)
    with pytest.raises(ValueError, match="with D 5"):
        ss.bev_iou(A[:, :4], B[:, :4])
    with pytest.raises(ValueError, match="no heading: their rotation must be 0"):
        ss.transform_boxes(A[:, :4], rotation=0.1)
    np.testing.assert_array_equal(ss.transform_boxes(A[:, :4], rotation=np.float32(0)), A[:, :4])
    with pytest.raises(ValueError, match=r"scale \(3,\) must be a scalar or have the leading axes \(\)"):
        ss.transform_points(A, scale=jnp.ones(3))
    with pytest.raises(ValueError, match=r"points \(6, 1\) must be"):
        ss.points_in_boxes(A[:, :1], A)
