import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.merging import ties_merge, ties_select

# Ten entries, half of them kept. Task 1 keeps 9 -8 7 -6 5; task 2 keeps 6 7 -8 -9 10.
FIRST = [9.0, -8.0, 7.0, -6.0, 5.0, 1.0, -1.0, 1.0, 0.0, 0.5]
SECOND = [6.0, 7.0, -8.0, -9.0, 1.0, 10.0, 1.0, 1.0, 0.0, 0.5]
VECTORS = jnp.array([FIRST, SECOND])


def test_trim_and_elect_by_hand():
    # Sums of what is kept: 15 -1 -1 -15 5 10 0 0 0 0, so the signs are + - - - + +, and of the draws 3 to 3 none.
    survivors = ties_select(VECTORS, keep=0.5)
    assert survivors.tolist() == [
        [9.0, -8.0, 0.0, -6.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [6.0, 0.0, -8.0, -9.0, 0.0, 10.0, 0.0, 0.0, 0.0, 0.0],
    ]
    assert ties_merge(VECTORS, keep=0.5).tolist() == [7.5, -8.0, -8.0, -7.5, 5.0, 10.0, 0.0, 0.0, 0.0, 0.0]
    total = ties_merge(VECTORS, keep=0.5, reduce="sum")
    assert total.tolist() == [15.0, -8.0, -8.0, -15.0, 5.0, 10.0, 0.0, 0.0, 0.0, 0.0]


def test_entries_equal_to_the_smallest_that_is_kept_all_stay():
    vectors = jnp.array([[3.0, 1.0, 1.0, 1.0]])
    assert ties_select(vectors, keep=0.5).tolist() == vectors.tolist()
    assert ties_select(vectors, keep=0.25).tolist() == [[3.0, 0.0, 0.0, 0.0]]


def test_the_authors_code_keeps_one_entry_more():
    # Of 10 entries 20 %: the k-th smallest with k = 10 - 2 is the third largest, and it stays too.
    assert (ties_select(VECTORS[:1], keep=0.2) != 0).sum() == 2
    assert (ties_select(VECTORS[:1], keep=0.2, authors_code=True) != 0).sum() == 3


def test_an_exact_draw_goes_to_the_sign_that_wins_most_elections():
    # Entry 1 is a draw of 2 and -2; entries 2 and 3 elect minus.
    vectors = jnp.array([[2.0, -3.0, -4.0], [-2.0, -3.0, -4.0]])
    assert ties_select(vectors, keep=1.0)[:, 0].tolist() == [0.0, -2.0]
    assert ties_select(-vectors, keep=1.0)[:, 0].tolist() == [0.0, 2.0]
    # Nobody wins: nothing survives, where the authors' code lets the negative entries live.
    draw = jnp.array([[2.0], [-2.0]])
    assert ties_select(draw, keep=1.0).tolist() == [[0.0], [0.0]]
    assert ties_select(draw, keep=1.0, authors_code=True).tolist() == [[0.0], [-2.0]]


@pytest.mark.parametrize("keep", [0.29, 0.57])
def test_a_share_of_a_hundred_entries_is_that_many(keep):
    # 0.29 * 100 is 28.999999999999996 and 0.57 * 100 is 56.99999999999999.
    vectors = jax.random.normal(jax.random.key(0), (1, 100))
    assert (ties_select(vectors, keep=keep) != 0).sum() == round(100 * keep)


def test_the_authors_code_cuts_the_product_off():
    # int(100 * 0.29) is 28, and their k-th value keeps one more; int(100 * 0.3) is 30.
    vectors = jax.random.normal(jax.random.key(0), (1, 100))
    for keep, kept in ((0.29, 29), (0.3, 31), (0.57, 57), (1.0, 100)):
        assert (ties_select(vectors, keep=keep, authors_code=True) != 0).sum() == kept


def test_a_nan_stays_and_takes_no_place():
    # At half of four entries, 3 and 4 stay of the first beside its NaN, whose sign nobody can elect. 4 and -4 are a
    # draw, which goes to the sign of entry 2.
    vectors = jnp.array([[1.0, jnp.nan, 3.0, 4.0], [1.0, 2.0, 3.0, -4.0]])
    survivors = ties_select(vectors, keep=0.5)
    np.testing.assert_array_equal(survivors, [[0, np.nan, 3, 4], [0, np.nan, 3, 0]])
    np.testing.assert_array_equal(ties_merge(vectors, keep=0.5), [0, np.nan, 3, 4])
    np.testing.assert_array_equal(
        ties_merge(vectors[:, :, None], keep=0.5, reduce="sum")[:, 0], [0, np.nan, 6, 4]
    )
    # A draw is settled by the other entries, not by the NaN.
    draw = jnp.array([[2.0, jnp.nan, -3.0, -4.0], [-2.0, 1.0, -3.0, -4.0]])
    np.testing.assert_array_equal(ties_merge(draw, keep=1.0), [-2, np.nan, -3, -4])


def test_a_tree_is_trimmed_as_one_vector():
    tree = {"w": VECTORS[:, :6].reshape(2, 3, 2), "b": VECTORS[:, 6:]}
    flat = ties_select(VECTORS, keep=0.5)
    got = ties_select(tree, keep=0.5)
    np.testing.assert_array_equal(got["w"].reshape(2, 6), flat[:, :6])
    np.testing.assert_array_equal(got["b"], flat[:, 6:])
    merged = ties_merge(tree, keep=0.5)
    assert jax.tree.map(jnp.shape, merged) == {"w": (3, 2), "b": (4,)}


def test_one_task_that_keeps_all_is_left_as_it_is():
    np.testing.assert_array_equal(ties_merge(VECTORS[:1], keep=1.0), VECTORS[0])


def test_survivors_agree_with_a_plain_loop_and_carry_the_gradient():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 40)).astype(np.float32)
    expected = np.zeros_like(vectors)
    for k, row in enumerate(vectors):
        largest = np.argsort(-np.abs(row))[:8]
        expected[k, largest] = row[largest]
    sign = np.sign(expected.sum(0))
    expected = np.where(np.sign(expected) == sign, expected, 0)
    select = jax.jit(lambda x: ties_select(x, keep=0.2))
    np.testing.assert_array_equal(select(vectors), expected)
    gradient = jax.grad(lambda x: select(x).sum())(jnp.asarray(vectors))
    np.testing.assert_array_equal(gradient, (expected != 0).astype(np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ties_select(VECTORS, keep=0.0), r"keep must be in \(0, 1\], got 0.0"),
        (lambda: ties_merge(VECTORS, reduce="max"), "reduce is 'max'"),
        (lambda: ties_select({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}), "the same K, got shapes"),
        (lambda: ties_select(jnp.float32(1.0)), "the same K, got shapes"),
        (lambda: ties_merge(jnp.zeros((0, 4))), r"at least one task, got shapes \[\(0, 4\)\]"),
        (lambda: ties_merge({"w": jnp.zeros((0, 4))}), "at least one task"),
        (lambda: ties_merge({}), "the same K, got shapes"),
        (lambda: ties_merge(jnp.ones(4)), r"must be \[K, P\], one row per task, got shape \(4,\)"),
        (
            lambda: jax.jit(lambda keep: ties_merge(VECTORS, keep=keep))(0.5),
            "keep must be static, not traced",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("keep", ["0.2", None, (0.2,), 0.0, 1.5, np.nan])
def test_a_share_that_is_none_is_refused(keep):
    with pytest.raises(ValueError, match=r"keep must be in \(0, 1\], got"):
        ties_select(jnp.ones((2, 4)), keep=keep)
