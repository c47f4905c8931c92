import dataclasses
import functools
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import (
    Decoder,
    RopeScaling,
    completion_hidden,
    load_hugging_face,
    output_matrix,
    sample,
    save_hugging_face,
    token_log_probs,
)
from jaxlab.language._layers import rotary_angles
from jaxlab.language._rope_scaling import scaled_frequencies
from tests.language.hugging_face import logits_of, tiny, transformers
from tests.language.test_weights import assert_refused, edit_config

LONG = np.random.default_rng(1).integers(0, 32, (2, 50)).astype(np.int32)
# What transformers says, and changes of the configuration beside it. All act within 50 positions.
KINDS = {
    "linear": ({"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}, {}),
    "dynamic": ({"rope_type": "dynamic", "factor": 2.5, "rope_theta": 500.0}, {"max_position_embeddings": 20}),
    "yarn": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 100.0},
        {},
    ),
    "yarn with everything": (
        {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 60, "rope_theta": 100.0,
            "beta_fast": 8, "beta_slow": 0.5, "truncate": False, "mscale": 0.7, "mscale_all_dim": 1.2,
        },
        {},
    ),
    "llama3": (
        {
            "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 32, "rope_theta": 50.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        },
        {},
    ),
    "longrope": (
        {
            "rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 50.0,
            "short_factor": [1.0, 2.0], "long_factor": [3.0, 5.0],
        },
        {},
    ),
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS)
DYNAMIC = RopeScaling("dynamic", factor=2.0, original_context=6)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, tokens, mask=None):
    return model.logits(params, model.apply(params, tokens, None, mask))


@functools.cache
def theirs(kind):
    rope, changes = KINDS[kind]
    return tiny("llama", seed=1, rope_parameters=rope, **changes)


@pytest.fixture
def ours(kind, tmp_path):
    theirs(kind).save_pretrained(tmp_path)
    return load_hugging_face(tmp_path)


@pytest.mark.parametrize(
    ("scaling", "base", "lengths", "expected"),
    [
        (RopeScaling("linear", 4.0), 10_000.0, 1, [0.25, 0.0025]),
        # base 100 (2 * 30 / 10 - 1)^(4 / 2) = 2500, of which the root is 50
        (RopeScaling("dynamic", 2.0, 10), 100.0, 30, [1.0, 0.02]),
        (RopeScaling("dynamic", 2.0, 10), 100.0, 10, [1.0, 0.1]),
        (RopeScaling("dynamic", 2.0, 10), 100.0, 3, [1.0, 0.1]),
        # 402 positions are 64 turns of the first channel and one of the sixth: the ramp is 0, 1/6, 2/6, 3/6
        (
            RopeScaling("yarn", 2.0, 402, beta_fast=64.0),
            16.0,
            1,
            [1.0, 0.5 * 11 / 12, 0.25 * 10 / 12, 0.125 * 9 / 12],
        ),
        # in 50 positions fit 8.0, 4.0, 2.0 and 1.0 turns: all, nearly all, a third, and nothing is kept
        (
            RopeScaling("llama3", 8.0, 50),
            16.0,
            1,
            [1.0, 0.5 * (1 - 7 / 8 * (4 - 25 / (2 * math.pi)) / 3),
             0.25 * (1 - 7 / 8 * (4 - 12.5 / (2 * math.pi)) / 3), 0.125 / 8],
        ),
        (RopeScaling("longrope", 1.0, 10, short_factors=(1, 2), long_factors=(4, 5)), 100.0, 10, [1.0, 0.05]),
        (RopeScaling("longrope", 1.0, 10, short_factors=(1, 2), long_factors=(4, 5)), 100.0, 11, [0.25, 0.02]),
    ],
)  # fmt: skip
def test_frequencies_by_hand(scaling, base, lengths, expected):
    found = scaled_frequencies(scaling, 2 * len(expected), base, jnp.int32(lengths))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_strength_by_hand():
    assert RopeScaling("linear", 4.0).amplitude == 1
    assert RopeScaling("yarn", 1.0, 8).amplitude == 1
    assert math.isclose(RopeScaling("yarn", math.e, 8).amplitude, 1.1)
    assert RopeScaling("yarn", math.e, 8, attention_factor=0.5).amplitude == 0.5
    assert math.isclose(
        RopeScaling("longrope", 4.0, 16, short_factors=(1,), long_factors=(1,)).amplitude, math.sqrt(1.5)
    )
    yarn = RopeScaling("yarn", math.e, 8)
    cos, sin = rotary_angles(jnp.arange(3), 4, 100.0, yarn)
    np.testing.assert_allclose(cos**2 + sin**2, np.full((3, 2), 1.21), rtol=1e-6)


@pytest.mark.parametrize(
    ("scaling", "base", "rope"),
    [
        (
            RopeScaling("llama3", 8.0, 8192),
            500_000.0,
            {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        ),
        (RopeScaling("yarn", 4.0, 32768), 1_000_000.0, {"factor": 4.0}),
        (RopeScaling("linear", 8.0), 10_000.0, {"factor": 8.0}),
        (RopeScaling("dynamic", 4.0, 2048), 10_000.0, {"factor": 4.0}),
    ],
)
def test_frequencies_of_real_models_are_those_of_transformers(scaling, base, rope):
    library = transformers()
    functions = __import__("transformers.modeling_rope_utils", fromlist=["_"]).ROPE_INIT_FUNCTIONS
    original = (
        {}
        if scaling.original_context is None
        else {"original_max_position_embeddings": scaling.original_context}
    )
    config = library.LlamaConfig(
        hidden_size=4096, num_attention_heads=32, max_position_embeddings=scaling.original_context or 2048,
        rope_parameters={"rope_type": scaling.kind, "rope_theta": base, **original, **rope},
    )  # fmt: skip
    expected, strength = functions[scaling.kind](config, "cpu", seq_len=7000)
    found = scaled_frequencies(scaling, 128, base, jnp.int32(7000))
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-6)
    assert math.isclose(scaling.amplitude, strength, rel_tol=1e-12)


@each_kind
def test_logits_are_those_of_transformers(kind, ours, tmp_path):
    model, params = ours
    expected = logits_of(theirs(kind), LONG, np.ones_like(LONG))
    got = logits(model, params, LONG)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=5e-5)
    plain = dataclasses.replace(model, rope_scaling=None)
    assert np.abs(logits(plain, params, LONG) - expected).max() > 1  # the scaling matters

    save_hugging_face(tmp_path, model, params)
    again, _ = load_hugging_face(tmp_path)
    assert again == model
    loaded = transformers().AutoModelForCausalLM.from_pretrained(tmp_path)
    np.testing.assert_allclose(logits_of(loaded, LONG, np.ones_like(LONG)), expected, rtol=1e-4, atol=5e-5)


def test_the_longest_sequence_is_the_stretched_one_and_survives_saving(tmp_path):
    for scaling, context, said in (
        (RopeScaling("linear", 2.5), 50, 20),
        (RopeScaling("linear", 1.1), 18, 17),
        (RopeScaling("dynamic", 2.5, 20), 50, 20),
        (RopeScaling("yarn", 4.0, 20), 80, 80),
        (RopeScaling("llama3", 4.0, 20), 30, 30),
    ):
        model = dataclasses.replace(SMALL, context=context, rope_scaling=scaling)
        save_hugging_face(tmp_path, model, small_params())
        file = tmp_path / "config.json"
        assert json.loads(file.read_text())["max_position_embeddings"] == said
        assert load_hugging_face(tmp_path)[0] == model
    edit_config(tmp_path, max_position_embeddings=20, rope_scaling={"type": "yarn", "factor": 4.0})
    assert load_hugging_face(tmp_path)[0].context == 80  # switched on without raising the number beside it


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_token_by_token_is_transformers_with_a_cache(kind, ours):
    import torch

    model, params = ours
    start, tokens = 18, torch.tensor(LONG, dtype=torch.long)
    expected = []
    with torch.no_grad():
        out = theirs(kind)(tokens[:, :start], use_cache=True)
        for t in range(start, 40):
            out = theirs(kind)(tokens[:, t : t + 1], past_key_values=out.past_key_values, use_cache=True)
            expected.append(out.logits[:, 0].numpy())

    @jax.jit
    def begin(params):
        cache = model.prefill(params, LONG[:, :start])[1]
        return cache.grown(40), model.extend(params, cache, LONG[:, start:40])

    cache, whole = begin(params)
    step = jax.jit(Decoder.decode, static_argnums=0)
    for i, t in enumerate(range(start, 40)):
        hidden, cache = step(model, params, cache, LONG[:, t], jnp.full(2, t))
        for found in (hidden, whole[:, i]):
            np.testing.assert_allclose(found @ params["output"], expected[i], rtol=1e-4, atol=5e-5)


SMALL = Decoder(
    vocab_size=9, width=16, num_layers=1, num_heads=2, context=40, rope_base=50.0, rope_scaling=DYNAMIC
)


@functools.cache
def small_params():
    return jax.tree.map(lambda x: 2 * x, SMALL.init(jax.random.key(0)))


def test_a_row_is_scaled_by_its_own_length_and_padding_changes_nothing():
    rows = [LONG[0, :14] % 9, LONG[1, :4] % 9]  # beyond the original context, and within
    alone = [logits(SMALL, small_params(), row[None])[0] for row in rows]
    for side in ("left", "right"):
        tokens, mask = np.zeros((2, 15), np.int32), np.zeros((2, 15), np.int32)
        places = [slice(15 - len(row), 15) if side == "left" else slice(len(row)) for row in rows]
        for i, (row, place) in enumerate(zip(rows, places)):
            tokens[i, place], mask[i, place] = row, 1
        together = logits(SMALL, small_params(), tokens, mask)
        for i, place in enumerate(places):
            np.testing.assert_allclose(together[i, place], alone[i], atol=2e-5)
    given = SMALL.apply(small_params(), rows[0][None], jnp.arange(14)[None])  # not compiled
    np.testing.assert_allclose(SMALL.logits(small_params(), given)[0], alone[0], atol=2e-5)


def test_what_is_sampled_beyond_the_original_context_is_what_is_scored():
    prompts = jnp.asarray(LONG[:, :9] % 9)
    mask = jnp.ones_like(prompts).at[0, :4].set(0)

    @jax.jit
    def run(params):
        out = sample(SMALL, params, prompts, mask, jax.random.key(1), max_new_tokens=8, eos=None, segment=4)
        hidden = completion_hidden(SMALL, params, prompts, mask, out.tokens, out.mask)
        return out.log_probs, token_log_probs(hidden, output_matrix(params), out.tokens)

    reported, scored = run(small_params())
    np.testing.assert_allclose(reported, scored, atol=2e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RopeScaling("ntk"), "rope scaling is 'ntk': it must be one of linear, dynamic, yarn, llama3"),
        (lambda: RopeScaling("linear", 0.0), "factor of rope scaling 'linear' is 0.0: it must be a positive number"),
        (lambda: RopeScaling("yarn", math.nan, 8), "factor of rope scaling 'yarn' is nan"),
        (lambda: RopeScaling("yarn", 2.0), "original_context of rope scaling 'yarn' is None: it must be at least 2"),
        (
            lambda: RopeScaling("llama3", 2.0, 8, low_frequency_factor=4.0),
            "low_frequency_factor and high_frequency_factor of rope scaling are 4.0 and 4.0",
        ),
        (lambda: RopeScaling("yarn", 2.0, 8, beta_fast=0.5), "beta_slow and beta_fast of rope scaling are 1.0 and 0.5"),
        (
            lambda: RopeScaling("longrope", 2.0, 8, short_factors=(1.0, -1.0)),
            "short_factors of rope scaling 'longrope' is -1.0",
        ),
        (
            lambda: dataclasses.replace(SMALL, rope_scaling=RopeScaling("longrope", 2.0, 8, short_factors=(1.0,))),
            "short_factors of rope scaling are 1 numbers: half of head_dim is 4",
        ),
        (lambda: dataclasses.replace(SMALL, head_dim=2), "head_dim is 2: dynamic rope scaling needs at least 4"),
        (
            lambda: dataclasses.replace(SMALL, rope_base=1.0, rope_scaling=RopeScaling("yarn", 2.0, 8)),
            "rope_base is 1.0: YaRN needs one above 1",
        ),
    ],
)  # fmt: skip
def test_scalings_that_cannot_be_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "linear"}, "rope_scaling: factor is None: it must be a positive number"),
        ({"rope_type": "linear", "factor": "2"}, "rope_scaling: factor is '2': it must be a positive number"),
        ({"rope_type": "linear", "factor": True}, "rope_scaling: factor is True"),
        (
            {"rope_type": "linear", "factor": 2.0, "alpha": 1.0},
            "rope_scaling: alpha is 1.0: this key is on no list",
        ),
        (
            {"rope_type": "yarn", "factor": 2.0, "attn_factor": 0.5},
            "rope_scaling: attn_factor is 0.5: only 1.0",
        ),
        ({"rope_type": "yarn", "type": "linear", "factor": 2.0}, "its rope_type must be one of"),
        ({"rope_type": "llama3", "factor": 2.0}, "rope_scaling: low_freq_factor is None"),
        (
            {"rope_type": "yarn", "factor": 2.0, "truncate": 0},
            "rope_scaling: truncate is 0: it must be true or false",
        ),
        (
            {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8.5},
            "original_max_position_embeddings is 8.5: it must be a whole number",
        ),
        (
            {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0], "long_factor": 3},
            "rope_scaling: long_factor is 3: it must be a list of numbers",
        ),
        (
            {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0], "long_factor": [2.0]},
            "/config.json: short_factors of rope scaling are 1 numbers: half of head_dim is 4",
        ),
        ({"rope_type": "default", "factor": 2.0}, "rope_scaling: factor is 2.0: only 1.0 is supported"),
        ({"partial_rotary_factor": 0.5}, "rope_scaling: partial_rotary_factor is 0.5: only 1.0 is supported"),
        (
            {"full_attention": {"rope_theta": 3.0}},
            "rope_scaling: full_attention is {'rope_theta': 3.0}: this key",
        ),
    ],
)
def test_what_a_folder_cannot_mean_is_refused(rope, message, tmp_path):
    plain = dataclasses.replace(SMALL, rope_scaling=None)
    save_hugging_face(tmp_path, plain, small_params())
    edit_config(tmp_path, rope_scaling=rope)
    assert_refused(tmp_path, message)


def test_a_scaling_without_a_name_in_transformers_is_not_saved(tmp_path):
    model = dataclasses.replace(SMALL, rope_scaling=RopeScaling("linear", 2.0, attention_factor=0.5))
    with pytest.raises(ValueError, match="rope scaling 'linear' with attention_factor 0.5 has no name"):
        save_hugging_face(tmp_path, model, small_params())
    assert not list(tmp_path.iterdir())
