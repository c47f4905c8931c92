import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import distillation
from jaxlab.distillation import CrdState, _contrastive, crd_init, crd_negatives

crd_loss = jax.jit(distillation.crd_loss, static_argnames=("temperature", "momentum", "axis_name"))
N, D, B, K = 12, 4, 8, 5
STATE = crd_init(jax.random.key(0), N, D)
STUDENT, TEACHER = jax.random.normal(jax.random.key(1), (2, B, D))
INDEX = jnp.array([3, 1, 4, 11, 5, 9, 2, 6])
NEGATIVES = crd_negatives(jax.random.key(2), batch_size=B, num_negatives=K, num_examples=N)


def _golden_state(golden):
    return CrdState(jnp.asarray(golden["in_crd_mem1"]), jnp.asarray(golden["in_crd_mem2"]), jnp.zeros(2))


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _assert_states_close(got, expected, rtol=1e-5):
    chex.assert_trees_all_close(got, expected, rtol=rtol, atol=1e-6)


def test_crd_matches_the_authors_code(kd_golden, close_to_golden):
    index = jnp.asarray(kd_golden["in_crd_y"])
    candidates = jnp.asarray(kd_golden["in_crd_idx"])
    losses, state = crd_loss(
        _golden_state(kd_golden), kd_golden["in_crd_s"], kd_golden["in_crd_t"], index, candidates[:, 1:]
    )
    close_to_golden(losses.mean(), kd_golden["out_crd_loss"][0])
    close_to_golden(state.normalizer, kd_golden["out_crd_Z"])
    close_to_golden(state.student_memory, kd_golden["out_crd_mem1"])
    close_to_golden(state.teacher_memory, kd_golden["out_crd_mem2"])


@pytest.mark.parametrize("side", [1, 2])
def test_the_scores_match_the_authors_code(kd_golden, close_to_golden, side):
    # Side 1: the student's anchor against the teacher's memory; side 2 the reverse.
    anchor = kd_golden["in_crd_s" if side == 1 else "in_crd_t"]
    memory = kd_golden[f"in_crd_mem{3 - side}"]
    logits = _contrastive._scores(jnp.asarray(anchor), jnp.asarray(memory), kd_golden["in_crd_idx"], 0.07)
    close_to_golden(jnp.exp(logits) / kd_golden["out_crd_Z"][side - 1], kd_golden[f"out_crd_o{side}"])


def test_crd_by_hand():
    # Unit vectors a, b at a right angle; anchors 2a, index 0, memories (a, b), negative 1, T = 1, Z = 2, n = 2, K = 1.
    # P_0 = e / 2, P_1 = 1 / 2, K / n = 1 / 2 per side:
    # -ln((e/2) / (e/2 + 1/2)) - ln((1/2) / (1/2 + 1/2)) = ln(1 + 1/e) + ln 2 = 0.313262 + 0.693147 = 1.006409.
    state = CrdState(jnp.eye(2), jnp.eye(2), jnp.array([2.0, 2.0]))
    anchor = jnp.array([[2.0, 0.0]])
    loss, new = crd_loss(state, anchor, anchor, jnp.array([0]), jnp.array([[1]]), temperature=1.0)
    np.testing.assert_allclose(loss, [2 * 1.006409], rtol=1e-5)
    np.testing.assert_array_equal(new.normalizer, state.normalizer)


def test_the_normalizer_makes_the_first_scores_average_one_over_n_and_is_then_frozen():
    _, first = crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES)
    candidates = jnp.concatenate([INDEX[:, None], NEGATIVES], axis=1)
    for anchor, memory, z in zip(
        (STUDENT, TEACHER), (STATE.teacher_memory, STATE.student_memory), first.normalizer
    ):
        scores = np.exp(np.einsum("bd,bkd->bk", _unit(anchor), memory[candidates]) / 0.07) / z
        np.testing.assert_allclose(scores.mean(), 1 / N, rtol=1e-4)
    _, second = crd_loss(first, TEACHER, STUDENT, INDEX, NEGATIVES)
    np.testing.assert_array_equal(second.normalizer, first.normalizer)
    assert not np.array_equal(second.teacher_memory, first.teacher_memory)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_the_memories_move_by_a_moving_average_on_the_sphere(momentum):
    _, new = crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES, momentum=momentum)
    for before, after, embedding in zip(STATE, new[:2], (STUDENT, TEACHER)):
        expected = np.array(before)
        expected[INDEX] = _unit(momentum * expected[INDEX] + (1 - momentum) * _unit(embedding))
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
        untouched = np.setdiff1d(np.arange(N), INDEX)
        np.testing.assert_array_equal(after[untouched], before[untouched])


def test_an_example_that_occurs_twice_is_remembered_once_in_any_order():
    index = INDEX.at[5].set(INDEX[0])
    _, new = crd_loss(STATE, STUDENT, TEACHER, index, NEGATIVES)
    mean = (_unit(TEACHER[0]) + _unit(TEACHER[5])) / 2
    expected = _unit(0.5 * np.asarray(STATE.teacher_memory[index[0]]) + 0.5 * mean)
    np.testing.assert_allclose(new.teacher_memory[index[0]], expected, rtol=1e-5)
    order = jnp.arange(B)[::-1]
    _, turned = crd_loss(STATE, STUDENT[order], TEACHER[order], index[order], NEGATIVES[order])
    _assert_states_close(turned, new)


def test_masked_rows_leave_no_trace():
    # Row 2 does not exist: NaN embeddings and the index -1, which must not reach the last row of the memory.
    where = jnp.arange(B) != 2
    student, teacher = STUDENT.at[2].set(jnp.nan), TEACHER.at[2].set(jnp.nan)
    index = INDEX.at[2].set(-1)

    def masked(student):
        losses, state = crd_loss(STATE, student, teacher, index, NEGATIVES, where=where)
        return losses.sum(), (losses, state)

    gradient, (losses, state) = jax.grad(masked, has_aux=True)(student)
    kept = np.flatnonzero(where)
    dropped = crd_loss(STATE, STUDENT[kept], TEACHER[kept], INDEX[kept], NEGATIVES[kept])
    assert losses[2] == 0
    np.testing.assert_allclose(losses[kept], dropped[0], rtol=1e-5)
    _assert_states_close(state, dropped[1])
    np.testing.assert_array_equal(gradient[2], np.zeros(D))
    assert np.isfinite(gradient).all()
    assert np.isnan(
        crd_loss(STATE, student, teacher, INDEX, NEGATIVES)[0][2]
    )  # a NaN that counts is not hidden


def test_all_masked_and_empty_change_nothing():
    loss = lambda s: crd_loss(STATE, s, TEACHER, INDEX, NEGATIVES, where=jnp.zeros(B))[0].sum()
    value, gradient = jax.value_and_grad(loss)(STUDENT)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((B, D)))
    _, state = crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES, where=jnp.zeros(B))
    chex.assert_trees_all_equal(state, STATE)  # the normalizers too wait for a first real batch
    empty, state = crd_loss(STATE, STUDENT[:0], TEACHER[:0], INDEX[:0], NEGATIVES[:0])
    assert empty.shape == (0,)
    chex.assert_trees_all_equal(state, STATE)


def test_gradients_reach_both_maps_but_neither_the_teachers_features_nor_the_memories():
    features, teacher_features = jax.random.normal(jax.random.key(3), (2, B, 6))
    maps = jax.random.normal(jax.random.key(4), (2, 6, D))

    def loss(state, teacher_features, maps):
        teacher = jax.lax.stop_gradient(teacher_features) @ maps[1]
        return crd_loss(state, features @ maps[0], teacher, INDEX, NEGATIVES)[0].mean()

    memories, at_teacher, at_maps = jax.grad(loss, argnums=(0, 1, 2))(STATE, teacher_features, maps)
    for leaf in jax.tree.leaves((memories, at_teacher)):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))
    assert (jnp.abs(at_maps).sum(axis=(1, 2)) > 1e-3).all()

    def state_sum(student):
        return sum(leaf.sum() for leaf in crd_loss(STATE, student, TEACHER, INDEX, NEGATIVES)[1])

    np.testing.assert_array_equal(jax.grad(state_sum)(STUDENT), np.zeros((B, D)))


def test_gradient_matches_finite_differences():
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
        state = wide(STATE)._replace(normalizer=jnp.array([40.0, 70.0]))
        loss = lambda s, t: crd_loss(state, s, t, INDEX, NEGATIVES, temperature=0.5)[0]
        assert loss(*wide((STUDENT, TEACHER))).dtype == jnp.float64
        check_grads(loss, wide((STUDENT, TEACHER)), order=1, modes=["rev"])
        _, narrow = crd_loss(STATE, *wide((STUDENT, TEACHER)), INDEX, NEGATIVES)
        assert [x.dtype for x in narrow] == [
            x.dtype for x in STATE
        ]  # wide embeddings leave the state its types


def test_a_matching_pair_costs_less_than_a_mismatched_one():
    # 12 directions of 64 dimensions are nearly at right angles, so every negative is an easy one.
    memory = jnp.asarray(_unit(np.random.default_rng(0).normal(size=(N, 64))), jnp.float32)
    state = CrdState(memory, memory, jnp.full(2, 1e4))
    negatives = (INDEX[:, None] + jnp.arange(1, K + 1)) % N
    matched, _ = crd_loss(state, memory[INDEX], memory[INDEX], INDEX, negatives)
    mismatched, _ = crd_loss(state, memory[negatives[:, 0]], memory[negatives[:, 1]], INDEX, negatives)
    assert (matched + 5 < mismatched).all()


def test_the_authors_guard_is_part_of_the_noise_of_both_denominators():
    # K / n = 1e-4, so 1e-7 is a thousandth of it, which the formula written out has to show.
    state = CrdState(*jnp.zeros((2, 10_000, 2)), jnp.full(2, 2e4))  # every score is 1: P = 1 / 2e4
    anchor = jnp.array([[1.0, 0.0]])
    loss, _ = crd_loss(state, anchor, anchor, jnp.array([0]), jnp.array([[1]]))
    score, noise = 1 / 2e4, 1e-4
    per_side = -np.log(score / (score + noise + 1e-7)) - np.log(noise / (score + noise + 1e-7))
    np.testing.assert_allclose(loss, [2 * per_side], rtol=1e-5)


def test_many_negatives_lose_no_precision():
    # 2^15 scores far below the noise: each costs about P_j n / K, which vanishes beside log(K / n) of each term.
    count = 2**15
    state = CrdState(jnp.eye(2), jnp.eye(2), jnp.full(2, 1e9))
    negatives = jnp.ones((1, count), int)
    anchor = jnp.array([[1.0, 0.0]])
    loss, _ = crd_loss(state, anchor, anchor, jnp.array([0]), negatives, temperature=1.0)
    noise = count / 2
    per_side = np.log1p((noise + 1e-7) * 1e9 / np.e) + count * np.log1p((1e-9 + 1e-7) / noise)
    np.testing.assert_allclose(loss, [2 * per_side], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4])
@pytest.mark.parametrize("temperature", [0.02, 100.0])
def test_any_embedding_is_finite(scale, temperature):
    def loss(student, teacher):
        losses, state = crd_loss(STATE, student, teacher, INDEX, NEGATIVES, temperature=temperature)
        return losses.sum(), state

    (value, state), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        scale * STUDENT, scale * TEACHER
    )
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((value, state, gradients)))


def test_the_state_keeps_its_types_so_that_it_scans():
    def step(state, key):
        keys = jax.random.split(key, 3)
        embeddings = jax.random.normal(keys[0], (2, B, D), jnp.bfloat16)
        index = jax.random.randint(keys[1], (B,), 0, N)
        negatives = crd_negatives(keys[2], batch_size=B, num_negatives=K, num_examples=N)
        losses, state = distillation.crd_loss(state, *embeddings, index, negatives)
        return state, losses

    keys = jax.random.split(jax.random.key(5), 3)
    state, losses = jax.jit(functools.partial(jax.lax.scan, step))(STATE, keys)
    assert losses.dtype == jnp.float32
    assert np.isfinite(losses).all()
    looped = STATE
    for key, expected in zip(keys, losses):
        looped, got = jax.jit(step)(looped, key)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    _assert_states_close(state, looped)


def test_initial_memories_are_unit_rows_and_differ():
    state = crd_init(jax.random.key(0), 50, 16)
    np.testing.assert_allclose(jnp.linalg.norm(jnp.stack(state[:2]), axis=-1), np.ones((2, 50)), rtol=1e-5)
    assert jnp.abs(jnp.stack(state[:2]).mean()) < 0.05  # directions in every octant
    assert not np.array_equal(state.student_memory, state.teacher_memory)
    np.testing.assert_array_equal(state.normalizer, [0, 0])


def test_negatives_are_uniform_over_all_examples():
    draw = crd_negatives(jax.random.key(0), batch_size=100, num_negatives=200, num_examples=8)
    assert draw.dtype == jnp.int32
    count = np.bincount(np.ravel(draw), minlength=8)
    # 20000 draws, 2500 each with standard deviation 47; no row leaves one out.
    assert count.shape == (8,)
    np.testing.assert_allclose(count, 2500, atol=250)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"student_embedding \(8, 3\) .* \(8, 4\) must both be \[B, 4\]"):
        crd_loss(STATE, STUDENT[:, :3], TEACHER, INDEX, NEGATIVES)
    with pytest.raises(ValueError, match=r"index \(7,\) must be \[B\] = \(8,\)"):
        crd_loss(STATE, STUDENT, TEACHER, INDEX[:7], NEGATIVES)
    with pytest.raises(ValueError, match=r"negatives \(8, 0\) must be \[B, K\]"):
        crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES[:, :0])
    with pytest.raises(ValueError, match="negatives must be integers, training examples in .* got float32"):
        crd_loss(STATE, STUDENT, TEACHER, INDEX, jnp.float32(NEGATIVES))
    with pytest.raises(ValueError, match="temperature must be at least 0.02 .* got temperature 0.001"):
        crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES, temperature=0.001)
    with pytest.raises(ValueError, match="momentum must be in .* got 1.5"):
        crd_loss(STATE, STUDENT, TEACHER, INDEX, NEGATIVES, momentum=1.5)
    with pytest.raises(ValueError, match="num_examples and dim must be at least 1, got 0 and 4"):
        crd_init(jax.random.key(0), 0, 4)
    with pytest.raises(ValueError, match="num_examples must be at least 1, got 0"):
        crd_negatives(jax.random.key(0), batch_size=1, num_negatives=1, num_examples=0)
