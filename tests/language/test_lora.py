import functools
import json
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import InputError
from jaxlab.language import (
    Decoder,
    LowRank,
    attach_lora,
    completion_hidden,
    convert_rope_pairs,
    init_lora,
    load_hugging_face,
    load_lora,
    merge_lora,
    output_matrix,
    pack_for_decoding,
    sample,
    save_lora,
    stack_layers,
    token_log_probs,
)
from jaxlab.language._adapter_config import module_name, read_adapter_config
from jaxlab.language._layers import linear
from tests.language.hugging_face import MASK, TOKENS, logits_of, transformers
from tests.language.test_weights import DATA, GOLDEN

MODEL, PARAMS = load_hugging_face(DATA / "qwen2")
TARGETS = ("q", "k", "o", "down")
VALID = MASK > 0


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params):
    return model.logits(params, model.apply(params, jnp.asarray(TOKENS), None, jnp.asarray(MASK)))


@functools.cache
def trained(targets=TARGETS, rank=3):
    """Adapters whose b is no longer zero."""
    adapters = init_lora(jax.random.key(0), MODEL, rank=rank, targets=targets)
    return jax.tree.map(lambda x: x + 0.2 * jax.random.normal(jax.random.key(x.shape[0]), x.shape), adapters)


def test_fresh_adapters_change_nothing():
    adapters = init_lora(jax.random.key(0), MODEL, rank=3, targets=TARGETS)
    tuned = attach_lora(PARAMS, adapters, alpha=6.0)
    np.testing.assert_array_equal(logits(MODEL, tuned), logits(MODEL, PARAMS))
    bound = MODEL.mlp_width**-0.5
    a = np.concatenate([layer["down"]["a"].ravel() for layer in adapters])
    assert 0.8 * bound < np.abs(a).max() <= bound
    np.testing.assert_allclose(a.std(), bound / 3**0.5, rtol=0.15)  # a uniform's deviation
    assert not np.array_equal(adapters[0]["q"]["a"], adapters[1]["q"]["a"])


def test_attached_by_hand():
    # W = [[1, 2]], a = [[3]], b = [[1, -1]], alpha / rank = 2: W' = [1, 2] + 2 * [3, -3] = [7, -4].
    layer = {"q": jnp.array([[1.0, 2.0]])}
    adapter = {"q": {"a": jnp.array([[3.0]]), "b": jnp.array([[1.0, -1.0]])}}
    tuned = attach_lora({"layers": (layer,)}, (adapter,), alpha=2.0)
    assert isinstance(tuned["layers"][0]["q"], LowRank)
    np.testing.assert_array_equal(merge_lora(tuned)["layers"][0]["q"], [[7.0, -4.0]])


def test_attached_merged_stacked_and_packed_are_the_same_function():
    tuned = attach_lora(PARAMS, trained(), alpha=6.0)
    expected = logits(MODEL, tuned)
    assert np.abs(expected - logits(MODEL, PARAMS)).max() > 0.1
    close = functools.partial(np.testing.assert_allclose, desired=expected, rtol=1e-5, atol=1e-5)
    merged = merge_lora(tuned)
    close(logits(MODEL, merged))
    stacked = attach_lora(stack_layers(PARAMS), trained(), alpha=6.0)
    close(logits(MODEL, stacked))
    stacked_adapters = stack_layers({"layers": trained()})["layers"]
    again = attach_lora(PARAMS, stacked_adapters, alpha=6.0)
    chex.assert_trees_all_equal(again, tuned)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6),
        merge_lora(stacked),
        stack_layers(merged),
    )
    close(logits(MODEL, pack_for_decoding(tuned)))
    chex.assert_trees_all_equal(merge_lora(merged), merged)


def test_gradients_of_adapters_are_finite_differences():
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), tree)
        params, adapters = wide(PARAMS), wide(trained(("q", "v"), 2))

        def loss(adapters):
            scores = logits(MODEL, attach_lora(params, adapters, alpha=4.0))
            return jnp.mean(jnp.where(VALID[..., None], jnp.sin(scores), 0.0))

        loss = jax.jit(loss)
        gradient = jax.jit(jax.grad(loss))(adapters)
        assert jax.tree.structure(gradient) == jax.tree.structure(adapters)
        direction = jax.tree.map(
            lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), adapters
        )
        moved = lambda h: jax.tree.map(lambda x, d: x + h * d, adapters, direction)
        slope = (loss(moved(1e-5)) - loss(moved(-1e-5))) / 2e-5
        dots = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        np.testing.assert_allclose(sum(jax.tree.leaves(dots)), slope, rtol=1e-6)


def _on_base(folder):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    base = transformers().AutoModelForCausalLM.from_pretrained(DATA / "qwen2").float()
    return peft, base, folder


@pytest.mark.parametrize("pairs", ["half", "interleaved"])
def test_peft_loads_ours(pairs, tmp_path):
    peft, base, _ = _on_base(tmp_path)
    model, params = convert_rope_pairs(MODEL, PARAMS, pairs)
    save_lora(tmp_path, model, trained(), alpha=6.0, base="qwen2")
    tuned = peft.PeftModel.from_pretrained(base, tmp_path)
    expected = logits(model, attach_lora(params, trained(), alpha=6.0))
    np.testing.assert_allclose(logits_of(tuned)[VALID], expected[VALID], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("pairs", ["half", "interleaved"])
def test_we_load_pefts(pairs, tmp_path):
    _, base, _ = _on_base(tmp_path)
    tuned = noisy_peft(base, target_modules=["q_proj", "v_proj", "up_proj"])
    tuned.save_pretrained(tmp_path)
    model, params = convert_rope_pairs(MODEL, PARAMS, pairs)
    adapters, alpha = load_lora(tmp_path, model)
    assert alpha == 5.0
    assert set(adapters[0]) == {"q", "v", "up"}
    got = logits(model, attach_lora(params, adapters, alpha=alpha))
    np.testing.assert_allclose(got[VALID], logits_of(tuned)[VALID], rtol=1e-5, atol=2e-5)
    assert np.abs(got - GOLDEN["qwen2"])[VALID].max() > 0.1


# Configurations of PEFT that one rank and one alpha do not describe, and which matrices then have adapters.
VARIANTS = {
    "ranks and alphas by module": (
        {"rank_pattern": {"q_proj": 4, r"layers\.1\.mlp\.up_proj": 1}, "alpha_pattern": {"up_proj": 7}},
        {"q", "up"},
    ),
    "rank-stabilised": ({"use_rslora": True}, {"q", "up"}),
    "rank-stabilised, ranks by module": (
        {"use_rslora": True, "rank_pattern": {"q_proj": 4}, "fan_in_fan_out": True, "lora_dropout": 0.3},
        {"q", "up"},
    ),
    "one layer": ({"layers_to_transform": [1], "layers_pattern": "layers"}, {"q", "up"}),
    "a regular expression": ({"target_modules": r".*\.0\..*(k|v)_proj"}, {"k", "v"}),
    "all but some": (
        {
            "target_modules": "all-linear",
            "exclude_modules": ["mlp.down_proj", "model.layers.0.self_attn.q_proj"],
        },
        {"q", "k", "v", "o", "gate", "up"},
    ),
}


def noisy_peft(base, **changes):
    """A model of PEFT with adapters that are nowhere zero."""
    import torch

    settings = {"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
    peft = pytest.importorskip("peft", reason="peft is not installed")
    tuned = peft.get_peft_model(base, peft.LoraConfig(**{**settings, **changes})).eval()
    torch.manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape) * 0.3
    return tuned


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_peft_there_and_back(variant, tmp_path):
    changes, targets = VARIANTS[variant]
    peft, base, _ = _on_base(tmp_path)
    tuned = noisy_peft(base, **changes)
    expected = logits_of(tuned)
    tuned.save_pretrained(tmp_path)
    adapters, alpha = load_lora(tmp_path, MODEL)
    assert set().union(*adapters) == targets
    got = logits(MODEL, attach_lora(PARAMS, adapters, alpha=alpha))
    np.testing.assert_allclose(got[VALID], expected[VALID], rtol=1e-4, atol=5e-5)
    assert np.abs(got - GOLDEN["qwen2"])[VALID].max() > 0.1

    save_lora(tmp_path / "ours", MODEL, adapters, alpha=alpha)
    again = peft.PeftModel.from_pretrained(_on_base(tmp_path)[1], tmp_path / "ours")
    np.testing.assert_allclose(logits_of(again)[VALID], expected[VALID], rtol=1e-4, atol=5e-5)
    chex.assert_trees_all_equal(load_lora(tmp_path / "ours", MODEL), (adapters, alpha))


def test_strengths_by_hand(tmp_path):
    # r = 4 and alpha = 6: rank-stabilised alpha / sqrt(r) = 3 is alpha' / r with alpha' = 12. A module of rank 16
    # then has 6 / 4 = 1.5 and not 12 / 16, so its b is doubled; with an alpha of its own of 2, 0.5: two thirds.
    said = {"r": 4, "lora_alpha": 6, "use_rslora": True, "rank_pattern": {"k_proj": 16, "v_proj": 16},
            "alpha_pattern": {"v_proj": 2}}  # fmt: skip
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", **said}))
    config = read_adapter_config(file)
    assert config.alpha == 12
    for target, rank, strength in (("q", 4, 1.0), ("k", 16, 2.0), ("v", 16, 2 / 3)):
        name = module_name(0, target)
        assert (config.rank(name), config.strength(name)) == (rank, pytest.approx(strength))
    assert config.strength(module_name(0, "q")) == 1
    adapted = {target for target in "qkvo" if config.adapts(module_name(0, target))}
    assert adapted == {"q", "v"}  # as PEFT for these architectures where the file says nothing


def test_adapters_that_differ_by_layer_need_layers_in_a_tuple():
    one = (trained(("q",), 2)[0], {})
    tuned = attach_lora(PARAMS, one, alpha=2.0)
    assert [isinstance(layer["q"], LowRank) for layer in tuned["layers"]] == [True, False]
    with pytest.raises(
        ValueError, match="adapters differ from layer to layer: attach them to layers in a tuple"
    ):
        attach_lora(stack_layers(PARAMS), one, alpha=2.0)


def test_save_and_load_give_the_same_adapters(tmp_path):
    save_lora(tmp_path, MODEL, stack_layers({"layers": trained()})["layers"], alpha=6.0, dtype=jnp.bfloat16)
    adapters, alpha = load_lora(tmp_path, MODEL, dtype=jnp.bfloat16)
    assert alpha == 6.0
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), trained())
    chex.assert_trees_all_equal(adapters, rounded)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "k_proj", "o_proj", "q_proj"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "peft_type is 'PREFIX_TUNING': only 'LORA' is supported"),
        ({"bias": "all"}, "adapter_config.json: bias is 'all': only 'none' is supported"),
        ({"use_dora": True}, "use_dora is True: only False is supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is ['lm_head']: only [] is supported"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights is 'pissa_niter_4': only True or False"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is [1]"),
        ({"lora_bias": True}, "lora_bias is True"),
        (
            {"rotation": 3},
            "adapter_config.json: rotation is 3: this key is on no list of docs/model_files.md",
        ),
        ({"r": "3"}, "adapter_config.json: r is '3': it must be a whole number from 1"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan: it must be a number other than 0"),
        (
            {"rank_pattern": {"q_proj": 0}},
            "rank_pattern is {'q_proj': 0}: it must be whole numbers by module",
        ),
        ({"alpha_pattern": [2]}, "alpha_pattern is [2]: it must be numbers by module"),
        ({"use_rslora": 1}, "use_rslora is 1: it must be true or false"),
        ({"layers_to_transform": "1"}, "layers_to_transform is '1': it must be a number or a list of them"),
        ({"target_modules": "(q"}, "target_modules holds '(q', no regular expression: "),
        ({"r": 4}, "lora_A.weight is (3, 16), the model's shape asks for (4, 16)"),
        ({"rank_pattern": {"q_proj": 2}}, "lora_A.weight is (3, 16), the model's shape asks for (2, 16)"),
        (
            {"layers_to_transform": [1]},
            "model.layers.0.self_attn.q_proj has adapters, and adapter_config.json says",
        ),
        ({"exclude_modules": ["down_proj"]}, "model.layers.0.mlp.down_proj has adapters"),
        (
            {"target_modules": None},
            "model.layers.0.self_attn.k_proj has adapters, and adapter_config.json says",
        ),
        (
            {"target_modules": ["q_proj", "k_proj", "o_proj", "down_proj", "v_proj"]},
            "v_proj.lora_A.weight is missing",
        ),
    ],
)
def test_other_adapters_are_refused(changes, message, tmp_path):
    save_lora(tmp_path, MODEL, trained(), alpha=6.0)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_lora(tmp_path, MODEL)
    assert "\n" not in str(error.value)


def test_adapters_of_another_model_are_refused(tmp_path):
    save_lora(tmp_path, MODEL, trained(), alpha=6.0)
    deeper = Decoder(**{**vars(MODEL), "num_layers": 3})
    shallower = Decoder(**{**vars(MODEL), "num_layers": 1})
    with pytest.raises(ValueError, match=r"layers\.2\.self_attn\.q_proj\.lora_A\.weight is missing"):
        load_lora(tmp_path, deeper)
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.down_proj\.lora_A\.weight has no place"):
        load_lora(tmp_path, shallower)
    with pytest.raises(ValueError, match="adapters have 2 layers: the model has 3"):
        save_lora(tmp_path, deeper, trained(), alpha=6.0)
    with pytest.raises(ValueError, match="adapters have 2 layers: params have 1"):
        attach_lora({**PARAMS, "layers": PARAMS["layers"][:1]}, trained(), alpha=6.0)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors does not exist"):
        load_lora(tmp_path, MODEL)


@pytest.mark.parametrize("targets", ["all-linear", ("all-linear",)])
def test_all_linear_is_every_matrix_of_a_layer(targets):
    adapters = init_lora(jax.random.key(0), MODEL, rank=2, targets=targets)
    named = init_lora(jax.random.key(0), MODEL, rank=2, targets=("q", "k", "v", "o", "gate", "up", "down"))
    chex.assert_trees_all_equal(adapters, named)
    for adapted, layer in zip(adapters, PARAMS["layers"], strict=True):
        assert set(adapted) == {name for name, leaf in layer.items() if leaf.ndim == 2}


def test_calls_that_cannot_be_are_named():
    init = functools.partial(init_lora, jax.random.key(0), MODEL)
    allowed = "they must be a list of some of q, k, v, o, gate, up, down, each once, or 'all-linear'"
    for targets in (("qkv",), ("q_proj",), "q", "all", ()):
        with pytest.raises(InputError, match=f"^{re.escape(f'targets are {targets!r}: {allowed}')}$"):
            init(rank=2, targets=targets)
    with pytest.raises(ValueError, match="each once"):
        init(rank=2, targets=("q", "q"))
    for rank in (0, 2.5):
        with pytest.raises(InputError, match=f"^rank is {rank}: it must be a whole number, at least 1$"):
            init(rank=rank)
    tuned = attach_lora(PARAMS, trained(), alpha=1.0)
    with pytest.raises(ValueError, match="matrix down to adapt is already adapted: call merge_lora first"):
        attach_lora(tuned, trained(), alpha=1.0)
    with pytest.raises(ValueError, match="matrix q to adapt is missing or packed"):
        attach_lora(pack_for_decoding(PARAMS), trained(("q",)), alpha=1.0)
    swapped = tuple({"q": layer["down"]} for layer in trained())
    message = "adapter of q: a (24, 3) @ b (3, 16) must be like the weight, (16, 16)"
    with pytest.raises(ValueError, match=re.escape(message)):
        attach_lora(PARAMS, swapped, alpha=1.0)


HALF = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)


def young(size):
    """Adapters whose b is what some Adam steps of 1e-4 have made of it."""
    adapters = init_lora(jax.random.key(0), MODEL, rank=4, targets=("q", "v", "down"))
    key = jax.random.key(1)
    return jax.tree.map(lambda x: x + size * jax.random.normal(key, x.shape) * (x == 0), adapters)


@pytest.mark.parametrize("size", [1e-5, 1e-3])
@pytest.mark.parametrize("merge", [pack_for_decoding, merge_lora])
def test_an_adapter_keeps_its_effect_when_merged_into_bfloat16(size, merge):
    tuned = attach_lora(HALF, young(size), alpha=8.0)
    merged = merge(tuned)["layers"][0]
    q = merged["qkv"][:, : MODEL.width] if "qkv" in merged else merged["q"]
    adapter = young(size)[0]["q"]
    wanted = 2.0 * adapter["a"] @ adapter["b"]
    got = q.astype(jnp.float32) - HALF["layers"][0]["q"].astype(jnp.float32)
    np.testing.assert_allclose(jnp.vdot(got, wanted) / jnp.vdot(wanted, wanted), 1, atol=5e-3)
    assert merged["down"].dtype == jnp.float32
    assert merged["gate_up" if "gate_up" in merged else "gate"].dtype == jnp.bfloat16  # without an adapter


def test_a_product_with_an_adapter_is_rounded_once():
    # 1 + 1/512 + 1/512 is 1 + 1/256 + 0, a number of bfloat16's: neither half is, and 1 + 1/512 rounds to 1.
    weight, a = jnp.ones((1, 1), jnp.bfloat16), jnp.ones((1, 1))
    matrix = LowRank(weight, a, jnp.full((1, 1), 2.0**-9), jnp.float32(1.0))
    x = jnp.array([[1.0 + 2.0**-7]], jnp.bfloat16)
    exact = (1.0 + 2.0**-7) * (1.0 + 2.0**-9)
    assert linear(x, matrix).dtype == jnp.bfloat16
    assert linear(x, matrix)[0, 0] == jnp.bfloat16(exact)
    np.testing.assert_array_equal(linear(x, matrix.merged()), linear(x, matrix))


def test_what_is_sampled_in_bfloat16_comes_from_the_policy_that_learns():
    """Sampler and learner are as near to each other with a young adapter as without one, up to the order of sums."""
    prompts = jnp.asarray(TOKENS)[:, :3]

    @jax.jit
    def gap(params):
        every = jnp.ones(prompts.shape, bool)
        out = sample(
            MODEL, params, prompts, every, jax.random.key(3), max_new_tokens=3, eos=None, num_samples=8
        )
        hidden = completion_hidden(MODEL, params, prompts, every, out.tokens, out.mask)
        return out.log_probs - token_log_probs(hidden, output_matrix(params), out.tokens)

    plain, tuned = gap(HALF), gap(attach_lora(HALF, young(1e-3), alpha=8.0))
    assert np.sqrt(np.mean(tuned**2)) < 2 * np.sqrt(np.mean(plain**2)) + 1e-3
    assert abs(tuned.mean()) < 0.01
