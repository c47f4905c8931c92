"""Every key of the files that loaders read: honoured, without effect, or refused in one line."""

import dataclasses
import importlib.util
import json
import pathlib
import re

import hypothesis
import hypothesis.strategies as st
import jax
import pytest

from jaxlab.language import Decoder, init_lora, load_lora, save_hugging_face, save_lora
from jaxlab.language._adapter_config import module_name, read_adapter_config
from jaxlab.language._adapter_keys import ADAPTER_KEYS
from jaxlab.language._config_keys import CONFIG_KEYS, GENERATION_KEYS
from jaxlab.language._gguf_keys import GGUF_KEYS
from jaxlab.language._hugging_face_config import read_config
from jaxlab.language._key_rules import HARMLESS, HONOURED, ONLY, check_keys, kept, only
from tests.language.hugging_face import transformers
from tests.test_fuzz import examples

ROOT = pathlib.Path(__file__).parents[2]
BASE = Decoder(vocab_size=7, width=8, num_layers=2, num_heads=2, num_kv_heads=1, mlp_width=12, context=16)
MODELS = {
    "llama": BASE,
    "qwen2": dataclasses.replace(BASE, qkv_bias=True),
    "qwen3": dataclasses.replace(BASE, qk_norm=True),
}
FORMATS = {
    **CONFIG_KEYS,
    "generation": GENERATION_KEYS,
    "adapter": ADAPTER_KEYS,
    **{f"gguf {k}": v for k, v in GGUF_KEYS.items()},
}
each_kind = pytest.mark.parametrize("kind", MODELS)
each_format = pytest.mark.parametrize("name", FORMATS)
# For each honoured key of config.json another value than the saved one.
OTHER = {
    "architectures": ["GPT2LMHeadModel"], "vocab_size": 6, "hidden_size": 16, "intermediate_size": 13,
    "num_hidden_layers": 3, "num_attention_heads": 1, "num_key_value_heads": 2, "head_dim": 2,
    "max_position_embeddings": 17, "rms_norm_eps": 1e-3, "rope_theta": 9.0,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "rope_parameters": {"rope_type": "default", "rope_theta": 8.0}, "tie_word_embeddings": False,
    "layer_types": ["sliding_attention"],
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """`write(kind, **changes)`: the file of a model's configuration."""

    def write(kind, **changes):
        file = tmp_path / kind / "config.json"
        if not file.is_file():
            save_hugging_face(file.parent, MODELS[kind], MODELS[kind].init(jax.random.key(0)))
            file.with_suffix(".saved").write_text(file.read_text())
        saved = json.loads(file.with_suffix(".saved").read_text())
        file.write_text(json.dumps(saved | changes))
        return file

    return write


@each_kind
def test_each_honoured_key_of_a_configuration_changes_the_shape_or_is_refused(kind, files):
    keys = {key for key, rule in CONFIG_KEYS[kind].items() if rule.verdict == HONOURED}
    assert keys - {"eos_token_id"} == OTHER.keys()
    assert read_config(files(kind)) == MODELS[kind]
    for key, value in OTHER.items():
        try:
            changed = read_config(files(kind, **{key: value})) != MODELS[kind]
        except ValueError as error:
            changed = key in str(error)
        assert changed, key


@each_kind
def test_harmless_keys_of_a_configuration_change_nothing(kind, files):
    keys = [key for key, rule in CONFIG_KEYS[kind].items() if rule.verdict == HARMLESS]
    for value in (3, "x", [True], {"a": 1}, None):
        assert read_config(files(kind, **dict.fromkeys(keys, value))) == MODELS[kind]


@each_kind
def test_absent_keys_have_the_defaults_of_transformers(kind, tmp_path):
    library = transformers()
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": kind}))
    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    config, ours = getattr(library, f"{name}Config")(), read_config(file)
    assert (ours.vocab_size, ours.width, ours.mlp_width) == (
        config.vocab_size, config.hidden_size, config.intermediate_size,
    )  # fmt: skip
    assert (ours.num_layers, ours.num_heads, ours.num_kv_heads) == (
        config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads,
    )  # fmt: skip
    assert ours.head_dim == getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    assert (ours.context, ours.norm_eps) == (config.max_position_embeddings, config.rms_norm_eps)
    assert (ours.rope_base, ours.tied) == (config.rope_parameters["rope_theta"], config.tie_word_embeddings)


def test_every_key_that_the_packages_write_has_been_judged():
    library = transformers()
    peft = pytest.importorskip("peft", reason="peft is not installed")
    for kind, name in {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}.items():
        assert getattr(library, f"{name}Config")().to_dict().keys() <= CONFIG_KEYS[kind].keys()
    generation = library.GenerationConfig()
    assert generation.to_dict().keys() <= GENERATION_KEYS.keys()
    assert generation._get_default_generation_params().keys() <= CONFIG_KEYS["llama"].keys()
    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields <= ADAPTER_KEYS.keys()
    for key, rule in ADAPTER_KEYS.items():  # a default is always accepted
        value = getattr(peft.LoraConfig(), key)
        if rule.verdict == ONLY:
            check_keys("here", {key: value}, ADAPTER_KEYS)


@each_format
def test_other_values_and_unknown_keys_are_refused_by_name(name):
    rules, unusual = FORMATS[name], {"unusual": 12345}
    for key, rule in rules.items():
        check_keys("here", {key: None}, rules)
        if rule.verdict != ONLY:
            check_keys("here", {key: unusual}, rules)
            continue
        for value in rule.values:
            check_keys("here", {key: value}, rules)
        with pytest.raises(ValueError, match=re.escape(f"here: {key} is {unusual}: ")) as error:
            check_keys("here", {key: unusual}, rules)
        assert "\n" not in str(error.value)
    with pytest.raises(
        ValueError, match=r"here: unheard_of is False: this key is on no list of docs/model_files\.md"
    ):
        check_keys("here", {"unheard_of": False}, rules)


def test_values_are_compared_as_they_are():
    rules = {"flag": only(False, text=""), "scale": only(1.0, text=""), "list": only([], text="")}
    check_keys("here", {"flag": False, "scale": 1, "list": []}, rules)
    for content in ({"flag": 0}, {"scale": True}, {"flag": "false"}, {"scale": float("nan")}, {"list": [0]}):
        with pytest.raises(ValueError, match="supported"):
            check_keys("here", content, rules)
    with pytest.raises(ValueError, match=re.escape("aaaa...: this key")) as error:
        check_keys("here", {"long": "a" * 10_000}, rules)
    assert len(str(error.value)) < 300
    assert kept({"flag": 1, "general.x": 2, "y": 3}, {"general.*": GGUF_KEYS["llama"]["general.*"]}) == {
        "general.x": 2
    }


def test_harmless_keys_of_adapters_change_nothing(tmp_path):
    adapters = init_lora(jax.random.key(0), BASE, rank=2)
    save_lora(tmp_path, BASE, adapters, alpha=4.0)
    file = tmp_path / "adapter_config.json"
    keys = [key for key, rule in ADAPTER_KEYS.items() if rule.verdict == HARMLESS]
    file.write_text(json.dumps(json.loads(file.read_text()) | dict.fromkeys(keys, True)))
    again, alpha = load_lora(tmp_path, BASE)
    assert alpha == 4.0
    jax.tree.map(lambda x, y: (x == y).all() or pytest.fail("changed"), again, adapters)


ODD = st.recursive(
    st.sampled_from((None, True, False, 0, 1, -3, 8, 10**30, 0.5, float("nan"), "", "yarn", "\u20ac")),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(("rope_type", "type", "factor", "rope_theta", "x")), inner, max_size=3
        )
    ),
    max_leaves=4,
)


@examples(150)
@hypothesis.given(
    kind=st.sampled_from(sorted(MODELS)),
    values=st.dictionaries(st.sampled_from([*OTHER, "model_type"]), ODD, max_size=3),
)
def test_any_configuration_gives_a_shape_or_one_line(kind, values, tmp_path_factory):
    file = tmp_path_factory.mktemp("fuzz") / "config.json"
    said = {"model_type": kind, "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    file.write_text(json.dumps(said | values))
    try:
        assert isinstance(read_config(file), Decoder)
    except ValueError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 600


@examples(150)
@hypothesis.given(values=st.dictionaries(st.sampled_from(sorted(ADAPTER_KEYS)), ODD, max_size=3))
def test_any_adapter_configuration_says_which_or_one_line(values, tmp_path_factory):
    file = tmp_path_factory.mktemp("fuzz") / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA"} | values))
    try:
        config = read_adapter_config(file)
        for target in ("q", "down"):
            name = module_name(1, target)
            assert config.rank(name) >= 1
            assert config.adapts(name) in (True, False)
            assert abs(config.strength(name)) > 0
    except ValueError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("page", ROOT / "docs" / "make_model_files_page.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--check"]) == 0, "run: python docs/make_model_files_page.py"
