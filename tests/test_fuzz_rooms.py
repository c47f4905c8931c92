"""Fuzz of nets, data, language and the statistics of the engine: finite, in range, or one clear line.

The losses have `test_fuzz.py`; here every function has its own idea of what must hold for any input.
"""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data, language, metrics, nets, training
from jaxlab.language import tasks
from tests.test_fuzz import VALUES, _values, examples

pytestmark = pytest.mark.wide

DTYPES = ("float32", "bfloat16", "float16")
seeds = st.integers(0, 10_000)


def _finite(tree):
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree))


def _or_one_line(call):
    """The value, or None when it refuses in one readable line."""
    try:
        return call()
    except ValueError as error:
        assert "\n" not in str(error)
        assert len(str(error)) > 20
        return None


# nets

NETS = {
    "Mlp": (nets.Mlp(features=(5,), num_classes=3), (4, 4, 1)),
    "ConvNet": (nets.ConvNet(channels=(3, 4), num_classes=3), (8, 8, 1)),
    "ResNet": (nets.ResNet(blocks=(1,), channels=(4,), num_groups=2, num_classes=3), (4, 4, 3)),
}


@functools.cache
def _net(name):
    net, shape = NETS[name]
    params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, *shape)))
    square = lambda params, x: jnp.mean(net.apply(params, x).astype(jnp.float32)) ** 2
    return shape, params, jax.jit(net.apply), jax.jit(jax.grad(square))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETS))
@examples(12)
@hypothesis.given(rows=st.sampled_from((0, 2)), kind=st.sampled_from(VALUES), seed=seeds)
def test_nets_are_finite(name, rows, kind, seed):
    shape, params, apply, gradient = _net(name)
    x = _values(np.random.default_rng(seed), kind, (rows, *shape), "float32")
    logits = apply(params, x)
    assert logits.shape == (rows, 3)
    assert logits.dtype == jnp.float32
    assert _finite(logits)
    if rows:
        assert _finite(gradient(params, x))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@examples(6)
@hypothesis.given(
    shape=st.tuples(*[st.sampled_from(n) for n in ((0, 2), (1, 5), (4,), (1, 3))]),
    window=st.sampled_from(((1, 1), (3, 3), (2, 3))),
    strides=st.sampled_from(((1, 1), (2, 2))),
    padding=st.sampled_from(("SAME", "VALID")),
    kind=st.sampled_from(VALUES),
    seed=seeds,
)
def test_conv2d_is_finite_and_both_ways_agree(dtype, shape, window, strides, padding, kind, seed):
    rng = np.random.default_rng(seed)
    x, kernel = _values(rng, kind, shape, dtype), _values(rng, "normal", (*window, shape[-1], 2), dtype)
    ways = [
        _or_one_line(
            lambda: nets.conv2d(x, kernel, strides=strides, padding=padding, implementation=implementation)  # noqa: B023
        )
        for implementation in ("matmul", "lax")
    ]
    assert (ways[0] is None) == (ways[1] is None)
    if ways[0] is not None:
        assert _finite(ways[0])
        scale = max(float(np.abs(np.asarray(x, np.float32)).max(initial=0)), 1e-30)
        np.testing.assert_allclose(
            np.asarray(ways[0], np.float32) / scale, np.asarray(ways[1], np.float32) / scale,
            atol=1e-4 if dtype == "float32" else 0.3,
        )  # fmt: skip


# data


@pytest.mark.slow
@examples(15)
@hypothesis.given(
    count=st.sampled_from((0, 1, 7)),
    superclasses=st.integers(1, 3),
    classes=st.integers(1, 3),
    size=st.sampled_from((4, 8)),
    difficulty=st.sampled_from((0.0, 0.5, 1.0, -1.0, 1e4)),
    seed=seeds,
)
def test_hierarchy_makes_finite_images_with_labels_in_range(
    count, superclasses, classes, size, difficulty, seed
):
    keys = jax.random.split(jax.random.key(seed))
    made = _or_one_line(
        lambda: data.image_hierarchy(
            *keys,
            count,
            num_superclasses=superclasses,
            classes_per_superclass=classes,
            size=size,
            difficulty=difficulty,
        )
    )
    if made is not None:
        assert made.image.shape == (count, size, size, 1)
        assert _finite(made.image)
        label = np.asarray(made.label)
        assert ((label >= 0) & (label < superclasses * classes)).all()
        above = np.asarray(data.superclass(made.label, classes_per_superclass=classes))
        assert ((above >= 0) & (above < superclasses)).all()


@pytest.mark.slow
@examples(60)
@hypothesis.given(
    n=st.integers(0, 40),
    fractions=st.sampled_from(((0.7, 0.15, 0.15), (1.0,), (0.5, 0.5, 0.0), (0.9, 0.2), (-0.1, 1.1), ())),
    seed=seeds,
    classes=st.integers(0, 4),
)
def test_splits_share_no_row_or_are_refused(n, fractions, seed, classes):
    labels = np.arange(n) % classes if classes else None
    parts = _or_one_line(lambda: data.split(n, seed=seed, fractions=fractions, labels=labels))
    if parts is not None:
        rows = np.concatenate(parts)
        assert len(set(rows.tolist())) == len(rows) <= n
        assert ((rows >= 0) & (rows < n)).all()
        assert abs(sum(fractions) - 1) > 1e-6 or len(rows) == n


@pytest.mark.slow
@examples(8)
@hypothesis.given(
    rows=st.integers(0, 4), batch=st.integers(-1, 5), dtype=st.sampled_from(DTYPES), kind=st.sampled_from(VALUES),
    seed=seeds,
)  # fmt: skip
def test_batches_hold_rows_of_the_data(rows, batch, dtype, kind, seed):
    image = _values(np.random.default_rng(seed), kind, (rows, 4, 4, 1), dtype)
    images = data.Images(jnp.asarray(image), jnp.arange(rows))
    drawn = _or_one_line(lambda: data.draw(images, jax.random.key(seed), batch_size=batch))
    if drawn is not None:
        assert drawn["image"].shape == (batch, 4, 4, 1)
        np.testing.assert_array_equal(drawn["image"], image[np.asarray(drawn["label"])])
        moved = data.crop_flip(drawn["image"], jax.random.key(seed), pad=1)
        assert set(np.unique(np.asarray(moved, np.float32))) <= {
            0.0,
            *np.unique(np.asarray(image, np.float32)),
        }


@functools.cache
def _stream_batches(batch_size, passes, steps):
    draw = functools.partial(data.task_batch, batch_size=batch_size, steps_per_task=steps, passes=passes)
    return jax.jit(jax.vmap(draw, (None, None, 0)))


@pytest.mark.slow
@examples(10)
@hypothesis.given(
    rows=st.integers(0, 8), classes=st.integers(1, 3), tasks=st.integers(0, 4), batch=st.sampled_from((1, 3)),
    passes=st.sampled_from((1, 2)), scenario=st.sampled_from(data.SCENARIOS), seed=seeds,
    kind=st.sampled_from(("split", "permuted", "turned")),
)  # fmt: skip
def test_task_streams_give_every_row_as_often_as_said(
    rows, classes, tasks, batch, passes, scenario, seed, kind
):
    rng = np.random.default_rng(seed)
    images = data.Images(
        jnp.asarray(rng.random((rows, 4, 4, 1)), jnp.float32), rng.integers(0, classes, rows)
    )
    make = {
        "split": lambda: data.split_classes(images, tasks, scenario=scenario, num_classes=classes),
        "permuted": lambda: data.permuted_pixels(images, tasks, jax.random.key(seed), scenario=scenario),
        "turned": lambda: data.turned_images(images, 40.0 * np.arange(tasks), scenario=scenario),
    }[kind]
    stream = _or_one_line(make)
    if stream is None:
        return
    steps = data.task_steps(stream, batch_size=batch, passes=passes)
    found = _stream_batches(batch, passes, steps)(stream, jax.random.key(seed), jnp.arange(steps * tasks + 1))
    where = np.asarray(found["where"])
    seen = np.bincount(np.asarray(found["index"])[where], minlength=rows)
    assert (seen == passes * (1 if kind == "split" else tasks)).all()
    label = np.asarray(found["label"])
    assert (label[~where] == -1).all()
    allowed = np.take_along_axis(np.asarray(found["classes"]), np.where(where, label, 0), 1)
    assert allowed[where].all()
    assert _finite(found["image"])


# language


@functools.cache
def _token_calls():
    hidden = lambda a: (a["h"], a["w"])
    calls = {
        "token_log_probs": lambda a: language.token_log_probs(*hidden(a), a["tokens"], chunk=3),
        "token_statistics": lambda a: language.token_statistics(*hidden(a), a["tokens"], temperature=0.5),
        **{
            kind: functools.partial(
                lambda kind, a: language.token_divergence(*hidden(a), a["g"], a["u"], kind=kind), kind
            )
            for kind in ("forward_kl", "reverse_kl", "jsd")
        },
    }

    def graded(call):
        def total(floats, tokens):
            out = call({**floats, "tokens": tokens})
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(out)), out

        return jax.jit(jax.value_and_grad(total, has_aux=True))

    return {name: graded(call) for name, call in calls.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token_log_probs", "token_statistics", "forward_kl", "reverse_kl", "jsd"])
@examples(20)
@hypothesis.given(
    dtype=st.sampled_from(("float32", "bfloat16")), kind=st.sampled_from(VALUES), seed=seeds,
    shape=st.sampled_from(((2, 3), (1, 1), (0, 2))),
)  # fmt: skip
def test_token_functions_are_finite(name, dtype, kind, seed, shape):
    """Hidden vectors up to 1e4 against a matrix of ordinary size: logits of about 1e4."""
    rng = np.random.default_rng(seed)
    floats = {
        "h": _values(rng, kind, (*shape, 4), dtype),
        "w": _values(rng, "normal", (4, 7), dtype),
        "g": _values(rng, kind, (*shape, 3), dtype),
        "u": _values(rng, "normal", (3, 7), dtype),
    }
    (_, out), gradient = _token_calls()[name](floats, rng.integers(0, 7, shape).astype(np.int32))
    for leaf in jax.tree.leaves(out):
        assert leaf.shape == shape
        assert leaf.dtype == jnp.float32
    assert _finite(out)
    assert _finite(gradient)
    if name == "token_log_probs":
        assert (np.asarray(out) <= 1e-6).all()
    if name in ("forward_kl", "reverse_kl", "jsd"):
        assert (np.asarray(out) >= -1e-3).all()


@pytest.mark.slow
@examples(60)
@hypothesis.given(
    dtype=st.sampled_from(DTYPES), kind=st.sampled_from(VALUES), seed=seeds, classes=st.sampled_from((1, 2, 6)),
    temperature=st.sampled_from((1.0, 0.1, 1e-3, 0.0, -1.0, 1e4)),
    top_k=st.sampled_from((None, 0, 1, 3, 100)),
    top_p=st.sampled_from((None, 0.0, 1e-6, 0.5, 1.0, 1.5)),
    min_p=st.sampled_from((None, 0.0, 0.3, 1.0, 2.0)),
)  # fmt: skip
def test_filters_leave_something_to_draw(dtype, kind, seed, classes, temperature, top_k, top_p, min_p):
    logits = _values(np.random.default_rng(seed), kind, (3, classes), dtype)
    kept = _or_one_line(
        lambda: language.filter_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    )
    if kept is not None:
        probabilities = np.asarray(jax.nn.softmax(kept, axis=-1), np.float64)
        np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
        best = np.asarray(logits, np.float32).argmax(-1)
        assert (probabilities[np.arange(3), best] > 0).all()


ODD = st.sampled_from((None, 0.0, -1.0, 1e-30, 0.5, 1.0, 4.0, 1e9, float("inf"), float("nan")))


@pytest.mark.slow
@examples(150)
@hypothesis.given(
    kind=st.sampled_from(("linear", "dynamic", "yarn", "llama3", "longrope", "su")),
    head_dim=st.sampled_from((2, 4, 8)), base=st.sampled_from((0.5, 1.0, 1.5, 1e4, 1e7)),
    factor=ODD.filter(lambda value: value is not None),
    context=st.sampled_from((None, 0, 1, 2, 30, 10**6)), low=ODD, high=ODD, strength=ODD, truncate=st.booleans(),
)  # fmt: skip
def test_rope_scalings_turn_or_refuse(kind, head_dim, base, factor, context, low, high, strength, truncate):
    bounds = {name: value for name, value in (("low", low), ("high", high)) if value is not None}
    names = {"low": ("low_frequency_factor", "beta_slow"), "high": ("high_frequency_factor", "beta_fast")}
    own = {names[end][kind == "yarn"]: value for end, value in bounds.items() if kind in ("yarn", "llama3")}
    factors = tuple(1.0 + i for i in range(head_dim // 2)) if kind == "longrope" else ()
    scaling = _or_one_line(
        lambda: language.RopeScaling(
            kind, factor, context, truncate=truncate, attention_factor=strength, short_factors=factors,
            long_factors=factors[::-1], **own,
        )
    )  # fmt: skip
    shape = {"vocab_size": 5, "width": 2 * head_dim, "num_heads": 2, "rope_base": base, "context": 50}
    model = scaling and _or_one_line(lambda: language.Decoder(**shape, rope_scaling=scaling))
    if model:
        cos, sin = (np.asarray(part, np.float64) for part in model.angle_table(50))
        assert cos.shape == sin.shape == (50, head_dim // 2)
        if scaling.amplitude < 1e4 and scaling.factor > 1e-9:  # frequencies that float32 can hold
            np.testing.assert_allclose(cos**2 + sin**2, scaling.amplitude**2, rtol=1e-4, atol=1e-12)


TASKS = {
    "addition": tasks.addition(2),
    "multiplication": tasks.multiplication(1),
    "sorting": tasks.sorting((2, 4)),
    "parity": tasks.parity((2, 4)),
    "chain": tasks.chain((1, 3)),
    "countdown": tasks.countdown(3),
}


@functools.cache
def _task_calls(name):
    task = TASKS[name]
    return jax.jit(lambda key: task.sample(key, 5)), jax.jit(task.verify), jax.jit(task.well_formed)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TASKS))
@examples(15)
@hypothesis.given(seed=seeds, kind=st.sampled_from(("random", "pad", "beyond", "negative")))
def test_verifiers_survive_any_completion(name, seed, kind):
    """Rewards are 0 or 1 whatever the tokens, and 0 for what is no answer."""
    task = TASKS[name]
    sample, verify, well_formed = _task_calls(name)
    problems = sample(jax.random.key(seed))
    rng, shape = np.random.default_rng(seed), (5, task.completion_length)
    tokens = {
        "random": rng.integers(0, task.tokenizer.vocab_size, shape),
        "pad": np.zeros(shape, int),
        "beyond": np.full(shape, 10**6),
        "negative": np.full(shape, -5),
    }[kind].astype(np.int32)
    mask = rng.random(shape) < 0.8
    for judged in (verify(problems, tokens, mask), well_formed(tokens, mask)):
        assert set(np.unique(np.asarray(judged, np.float32))) <= {0.0, 1.0}
    if kind != "random":
        assert not np.asarray(verify(problems, tokens, mask)).any()


# statistics of results


@pytest.mark.slow
@examples(80)
@hypothesis.given(
    count=st.integers(0, 12),
    kind=st.sampled_from(VALUES),
    seed=seeds,
    lower=st.booleans(),
    relation=st.sampled_from(("greater", "not_worse", "equivalent")),
    rule=st.sampled_from(("seeds", "percentile")),
)
def test_claims_have_finite_numbers_and_a_verdict_or_say_why_not(count, kind, seed, lower, relation, rule):
    rng = np.random.default_rng(seed)
    size = (4 * count if rule == "percentile" else count,)
    one, other = (np.asarray(_values(rng, kind, size, "float32"), np.float64) for _ in range(2))
    scores = {"one": {"m": one}, "other": {"m": other}}
    make = lambda arm, versus: training.Claim(
        arm, "it wins", "m", arm, versus, lower_is_better=lower, relation=relation, rule=rule
    )
    found, swapped = training.decide([make("one", "other"), make("other", "one")], scores)
    assert found["verdict"] in {"supported", "opposite", "no effect", "undecided", "none"}
    assert bool(found.get("why")) == (found["verdict"] == "none")
    numbers = [
        found[key] for key in ("effect", "p", "detectable", "iqm", "p_improvement") if found[key] is not None
    ]
    numbers += [end for key in ("ci95", "ci_holm") for end in found[key] or ()]
    assert np.isfinite(numbers).all()
    if found["verdict"] != "none":
        low, high = found["ci95"]
        slack = 1e-9 * np.abs(one - other).max()
        assert low - slack <= found["effect"] <= high + slack or rule == "percentile"
        assert 0 <= found["p"] <= 1
    if found["verdict"] == "supported" and relation == "greater":
        assert (np.mean(one - other) > 0) != lower
    mirror = {"supported": "opposite", "opposite": "supported"} if relation == "greater" else {}
    if relation != "not_worse":
        assert swapped["verdict"] == mirror.get(found["verdict"], found["verdict"])


@pytest.mark.slow
@examples(60)
@hypothesis.given(
    rows=st.integers(1, 3), count=st.integers(1, 9), kind=st.sampled_from(VALUES), seed=seeds,
    resplit=st.sampled_from((None, (1, 4), (50, 50))), tail=st.sampled_from(("both", "above", "below")),
)  # fmt: skip
def test_statistics_are_in_range(rows, count, kind, seed, resplit, tail):
    rng = np.random.default_rng(seed)
    values, others = (np.asarray(_values(rng, kind, (rows, count), "float32"), np.float64) for _ in range(2))
    low, high = metrics.t_interval(values, resplit=resplit)
    assert (low <= high).all()
    if count > 1:
        assert np.isfinite([low, high, metrics.standard_error(values, resplit=resplit)]).all()
    p = np.stack(
        [metrics.t_p_value(values, tail=tail, resplit=resplit), metrics.percentile_p_value(values, tail=tail)]
    )
    assert ((p >= 0) & (p <= 1)).all()
    for adjust in (metrics.holm, metrics.benjamini_hochberg):
        assert (adjust(p[0]) >= p[0] * (1 - 1e-12)).all()
        assert (adjust(p[0]) <= 1).all()
    assert ((metrics.holm_levels(p[0]) >= 0) & (metrics.holm_levels(p[0]) <= 0.05 * (1 + 1e-12))).all()
    ends = np.stack(metrics.percentile_interval(values))
    assert ((ends >= values.min(axis=1)) & (ends <= values.max(axis=1))).all()
    spread = values[0].std()
    needed = metrics.seeds_needed(values[0, 0], spread, resplit=resplit)
    assert needed is None or metrics.detectable_effect(spread, needed, resplit=resplit) <= abs(values[0, 0])
    assert metrics.variance_factor(count, resplit=resplit) > 0
    assert values.min() <= metrics.interquartile_mean(values) <= values.max()
    assert 0 <= metrics.probability_of_improvement(values.T, others.T) <= 1
    profile = metrics.performance_profile(values, np.sort(others[0]))
    assert (np.diff(profile) <= 0).all()
    edges = metrics.stratified_bootstrap(np.mean, values, resamples=20)
    assert values.min() - 1e-9 <= edges[0] <= edges[1] <= values.max() + 1e-9
    assert set(metrics.runners_up(values)) <= set(range(rows))
    settings = [{"rate": float(value)} for value in values[:, 0]]
    assert metrics.at_edges(settings, 0) in ((), ("rate",))
