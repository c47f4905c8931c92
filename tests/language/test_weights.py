import dataclasses
import functools
import json
import pathlib
import re
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import (
    Decoder,
    attach_lora,
    convert_rope_pairs,
    init_lora,
    load_hugging_face,
    pack_for_decoding,
    save_hugging_face,
    stack_layers,
)
from tests.language.hugging_face import KINDS, MASK, TOKENS, logits_of, tiny, transformers

DATA = pathlib.Path(__file__).parents[1] / "golden" / "language"
GOLDEN = np.load(DATA / "transformers_logits.npz")
SMALL = Decoder(vocab_size=7, width=8, num_layers=2, num_heads=2, num_kv_heads=1, mlp_width=12, context=16)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, tokens, mask):
    return model.logits(params, model.apply(params, tokens, None, mask))


def assert_same_logits(folder, expected, tokens=TOKENS, mask=MASK):
    model, params = load_hugging_face(folder)
    got = logits(model, params, jnp.asarray(tokens), jnp.asarray(mask))
    np.testing.assert_allclose(got[mask > 0], expected[mask > 0], rtol=1e-4, atol=1e-4)


@functools.cache
def small_params():
    return SMALL.init(jax.random.key(0))


@pytest.fixture
def folder(tmp_path):
    """A good model; its last layer's down projection ends the file."""
    save_hugging_face(tmp_path, SMALL, small_params())
    return tmp_path


def assert_refused(folder, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_hugging_face(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def edit_config(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def edit_header(folder, change, name="model.safetensors"):
    """Rewrite the header of a safetensors file, keeping its bytes."""
    file = folder / name
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_transformers_give_its_logits(kind):
    # Written by transformers 5.23 in bfloat16, logits computed by it in float32, one row padded on the left.
    np.testing.assert_array_equal(GOLDEN["tokens"], TOKENS)
    assert_same_logits(DATA / kind, GOLDEN[kind])


def test_the_shape_is_read_from_the_configuration():
    model, params = load_hugging_face(DATA / "qwen3", dtype=jnp.bfloat16)
    assert model == Decoder(
        vocab_size=32, width=16, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, mlp_width=24,
        context=64, rope_base=5000.0, norm_eps=1e-5, qk_norm=True, tied=False,
    )  # fmt: skip
    assert jax.tree.map(jnp.shape, params) == model.shapes()
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("qwen2", False), ("qwen3", True)])
def test_logits_equal_those_of_transformers(kind, tied, tmp_path):
    model = tiny(kind, tied=tied, seed=3)
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same_logits(tmp_path, logits_of(model))


@pytest.mark.parametrize("pairs", ["half", "interleaved"])
@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_what_we_save(kind, pairs, tmp_path):
    model, params = load_hugging_face(DATA / kind)
    model, params = convert_rope_pairs(model, params, pairs)
    save_hugging_face(tmp_path, model, stack_layers(params))
    loaded, report = transformers().AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert type(loaded).__name__.lower() == f"{kind}forcausallm"
    valid = MASK > 0
    np.testing.assert_allclose(logits_of(loaded)[valid], GOLDEN[kind][valid], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_save_and_load_give_the_same_parameters(dtype, tmp_path):
    model = dataclasses.replace(SMALL, qkv_bias=True, tied=False, rope_base=777.0, norm_eps=1e-5)
    params = model.init(jax.random.key(1), dtype=dtype)
    save_hugging_face(tmp_path / "new" / "folder", model, params, dtype=dtype)
    again, loaded = load_hugging_face(tmp_path / "new" / "folder", dtype=dtype)
    assert again == model
    chex.assert_trees_all_equal(loaded, params)
    assert all(x.dtype == dtype for x in jax.tree.leaves(loaded))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_the_safetensors_package_reads_what_we_save(folder):
    package = pytest.importorskip("safetensors.numpy")
    tensors = package.load_file(folder / "model.safetensors")
    q = small_params()["layers"][1]["q"]
    np.testing.assert_array_equal(tensors["model.layers.1.self_attn.q_proj.weight"], q.T)
    np.testing.assert_array_equal(tensors["model.embed_tokens.weight"], small_params()["embed"])


@pytest.mark.parametrize("same", [True, False])
def test_a_tied_model_that_carries_an_output_matrix_uses_it_if_it_differs(same, tmp_path):
    untied = dataclasses.replace(SMALL, tied=False)
    params = untied.init(jax.random.key(0))
    params = {**params, "output": params["embed"].T} if same else params
    save_hugging_face(tmp_path, untied, params)
    edit_config(tmp_path, tie_word_embeddings=True)
    model, loaded = load_hugging_face(tmp_path)
    assert model == dataclasses.replace(SMALL, tied=same)
    tokens = jnp.arange(6)[None]
    np.testing.assert_array_equal(
        logits(model, loaded, tokens, tokens >= 0), logits(untied, params, tokens, tokens >= 0)
    )


def test_older_configurations_say_the_same(folder):
    edit_config(folder, architectures="absent", rope_theta=500, rope_scaling=None, num_key_value_heads=1)
    assert load_hugging_face(folder)[0].rope_base == 500.0
    edit_config(folder, rope_theta="absent", rope_parameters={"rope_type": "default", "rope_theta": 600.0})
    assert load_hugging_face(folder)[0].rope_base == 600.0


def test_adapters_beside_a_model_are_refused(folder):
    (folder / "adapter_config.json").write_text("{}")
    assert_refused(folder, " holds adapter_config.json, adapters that transformers would attach")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "/config.json: architectures is ['GPT2LMHeadModel']: it must be one of LlamaForCausalLM, "
            "Qwen2ForCausalLM, Qwen3ForCausalLM",
        ),
        ({"architectures": [["LlamaForCausalLM"]]}, "architectures is [['LlamaForCausalLM']]"),
        ({"architectures": None, "model_type": "mamba"}, "architectures is None"),
        ({"hidden_act": "gelu"}, "/config.json: hidden_act is 'gelu': only 'silu' or 'swish' is supported"),
        ({"attention_bias": True}, "attention_bias is True: only False is supported"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"use_sliding_window": True}, "use_sliding_window is True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types holds 'sliding_attention'"),
        (
            {"rope_scaling": {"type": "su"}},
            "rope_scaling is {'type': 'su'}: its rope_type must be one of default",
        ),
        ({"rope_parameters": "yarn"}, "/config.json: rope_parameters is 'yarn': it must be a JSON object"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false': it must be true or false"),
        ({"is_causal": False}, "/config.json: is_causal is False: only True is supported"),
        (
            {"model_type": "mistral", "sliding_window": 4},
            "model_type is 'mistral': only 'llama' is supported",
        ),
        ({"sliding_window": 4}, "sliding_window is 4: not supported"),
        (
            {"logit_scale": 0.5},
            "/config.json: logit_scale is 0.5: this key is on no list of docs/model_files.md",
        ),
        ({"auto_map": {"AutoModel": "a.B"}}, "auto_map is {'AutoModel': 'a.B'}: not supported"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}: not supported"),
        ({"hidden_size": "absent"}, "embed_tokens.weight is (7, 8), the model's shape asks for (7, 4096)"),
        ({"vocab_size": 7.0}, "vocab_size is 7.0: it must be a whole number"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan: it must be a positive number"),
        ({"num_key_value_heads": 3}, "/config.json: num_kv_heads is 3: it must divide num_heads, 2"),
        ({"hidden_size": 6}, "model.embed_tokens.weight is (7, 8), the model's shape asks for (7, 6)"),
        (
            {"num_hidden_layers": 3},
            "tensor model.layers.2.input_layernorm.weight is missing, it should be (8,)",
        ),
        ({"num_hidden_layers": 10**12}, "tensor model.layers.2."),
        (
            {"num_hidden_layers": 1},
            "tensor model.layers.1.input_layernorm.weight has no place in this model (9 such)",
        ),
        ({"tie_word_embeddings": False}, "tensor lm_head.weight is missing, it should be (7, 8)"),
        (
            {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
            "tensor model.layers.0.self_attn.q_proj.bias is missing, it should be (8,)",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(folder, changes, message):
    edit_config(folder, **changes)
    assert_refused(folder, message)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "/config.json does not exist"),
        (lambda f: (f / "config.json").write_text('{"a": '), "/config.json is not JSON: "),
        (
            lambda f: (f / "config.json").write_text("[1]"),
            "/config.json holds list: it must be a JSON object",
        ),
        (
            lambda f: (f / "model.safetensors").unlink(),
            " holds neither model.safetensors nor model.safetensors.index.json",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
            "damaged or truncated",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes() + b"x"),
            "damaged or truncated",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "not a whole safetensors file: 3 bytes"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 99),
            "not a whole safetensors file: 99 bytes",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"{]"),
            "its header is not a JSON object",
        ),
        (
            lambda f: edit_header(f, lambda h: h["model.norm.weight"].update(dtype="F8_E4M3")),
            "model.norm.weight has type F8_E4M3: it must be F64, F32, F16, BF16",
        ),
        (
            lambda f: edit_header(f, lambda h: h["model.norm.weight"].update(shape=[9])),
            "model.norm.weight has shape (9,) of F32 and 32 bytes",
        ),
        (
            lambda f: edit_header(f, lambda h: h["model.norm.weight"].update(shape=[-8])),
            "the header's entry of model.norm.weight is broken",
        ),
        (
            lambda f: edit_header(f, lambda h: h.update({"model.norm.weight": 3})),
            "the header's entry of model.norm.weight is broken",
        ),
        (
            lambda f: edit_header(f, lambda h: h["model.layers.0.mlp.up_proj.weight"].update(shape=[8, 12])),
            "tensor model.layers.0.mlp.up_proj.weight is (8, 12), the model's shape asks for (12, 8)",
        ),
        (
            lambda f: edit_header(f, lambda h: h.update(extra=h.pop("model.norm.weight"))),
            "tensor model.norm.weight is missing, it should be (8,)",
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "model.safetensors.index.json"),
            "/model.safetensors.index.json is not JSON",
        ),
    ],
)
def test_damaged_files_are_refused_in_one_line(folder, damage, message):
    damage(folder)
    assert_refused(folder, message)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (None, "/model.safetensors.index.json: weight_map must say in which file each tensor is"),
        (
            {"model.norm.weight": "../a.safetensors"},
            "'../a.safetensors' must be the name of a file in the same folder",
        ),
        ({"model.norm.weight": "b.safetensors"}, "/b.safetensors does not exist"),
        (
            {"absent": "a.safetensors"},
            "/a.safetensors: tensor absent is missing, though the index promises it",
        ),
        ({"model.norm.weight": "a.safetensors"}, ": tensor model.embed_tokens.weight is missing"),
    ],
)
def test_a_broken_index_is_refused(folder, weight_map, message):
    shutil.move(folder / "model.safetensors", folder / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_refused(folder, message)


def _without(params, name):
    layers = tuple({key: value for key, value in layer.items() if key != name} for layer in params["layers"])
    return {**params, "layers": layers}


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (
            SMALL,
            lambda p: attach_lora(p, init_lora(jax.random.key(0), SMALL, rank=2), alpha=1.0),
            "params['layers'][0]['q'] carries an adapter: call merge_lora first",
        ),
        (SMALL, pack_for_decoding, "params['layers'][0]['gate_up'] has no place in this model"),
        (SMALL, lambda p: {**p, "layers": p["layers"][:1]}, "params have 1 layers: the model has 2"),
        (SMALL, lambda p: _without(p, "k"), "params['layers'][0]['k'] is missing, it should be (8, 4)"),
        (
            SMALL,
            lambda p: {**p, "norm": jnp.ones(9)},
            "params['norm'] is (9,), the model's shape asks for (8,)",
        ),
        (
            dataclasses.replace(SMALL, qkv_bias=True, qk_norm=True),
            lambda p: p,
            "a decoder with both qk_norm and qkv_bias has no architecture in transformers",
        ),
    ],
)
def test_parameters_that_cannot_be_saved_are_refused_and_leave_nothing(tmp_path, model, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        save_hugging_face(tmp_path, model, change(small_params()))
    assert not list(tmp_path.iterdir())


def test_types_that_are_no_parameters_are_refused(tmp_path):
    for dtype in (jnp.int32, jnp.float64):
        with pytest.raises(ValueError, match="dtype is (int32|float64)"):
            save_hugging_face(tmp_path, SMALL, small_params(), dtype=dtype)
    with pytest.raises(ValueError, match="dtype is int8: parameters are floating point numbers"):
        load_hugging_face(DATA / "llama", dtype=jnp.int8)
