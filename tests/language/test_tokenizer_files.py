"""A tokenizer's files: every key honoured, harmless or refused; several ends; saved and loaded again."""

import json
import re

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import CharacterTokenizer, Tokenizer, load_tokenizer, save_tokenizer
from jaxlab.language._tokenizer_gguf import _templates
from jaxlab.language._tokenizer_keys import TOKENIZER_KEYS
from tests.language.test_tokenizer import HARD, trained, write_folder, write_gguf
from tests.test_fuzz import examples

library = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

CONFIG = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False}


ODD = st.recursive(
    st.sampled_from(
        (None, True, False, 0, 2, -3, 10**30, 0.5, float("nan"), "", "the", "<|im_end|>", "\u20ac")
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(("content", "special", "name", "template", "0", "2", "x")), inner, max_size=3
        )
    ),
    max_leaves=4,
)


def write_json(file, **content):
    file.write_text(json.dumps(content))


def theirs(folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def load(folder, tokenizer_config=CONFIG, **files):
    """The tokenizer of a folder with these ends in these files."""
    write_folder(folder, tokenizer_config)
    for name, ends in files.items():
        write_json(folder / f"{name}.json", eos_token_id=ends)
    return load_tokenizer(folder)


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({}, (2,)),
        ({"generation_config": [0, 2]}, (2, 0)),
        ({"generation_config": 0}, (2, 0)),
        ({"config": [2, 5]}, (2, 5)),
        # transformers writes the defaults of its classes into config.json: generation goes first
        ({"config": 7, "generation_config": [0]}, (2, 0)),
        ({"config": None, "generation_config": None}, (2,)),
        ({"config": 310}, (2, 310)),  # a model's spare rows may end a sequence, too
    ],
)
def test_an_end_is_what_any_file_calls_one(files, ends, tmp_path):
    tokenizer = load(tmp_path, **files)
    assert (tokenizer.eos_id, tokenizer.eos_ids) == (ends[0], ends)
    the = tokenizer.encode("the")
    for end in ends:
        assert tokenizer.decode([*the, end, *the]) == "the"
        assert tokenizer.decode(jnp.array([end, *the])) == ""
    assert tokenizer.encode_batch(["the"], 2, eos=True)[0].tolist() == [[*the, ends[0]]]


def test_a_chat_models_turn_ends_where_its_generation_ends(tmp_path):
    tokenizer = load(tmp_path, {"eos_token": "<|endoftext|>"}, generation_config=[0, 2])
    assert tokenizer.decode(tokenizer.encode("42<|im_end|>user\nand 7?")) == "42"
    assert tokenizer.decode(tokenizer.encode("42<|im_end|>7"), special=True) == "42<|im_end|>7"


def test_a_folder_may_name_its_end_by_id_alone(tmp_path):
    tokenizer = load(tmp_path, {}, generation_config=[2, 0])
    assert (tokenizer.eos_id, tokenizer.eos_ids, tokenizer.pad_id) == (2, (2, 0), 2)


@pytest.mark.parametrize("ends", ["2", [2, None], True, -1, {"id": 2}, [[2]], 2.0])
def test_ends_that_are_no_ids_are_named(ends, tmp_path):
    with pytest.raises(
        ValueError, match=r"generation_config\.json: eos_token_id is .*: it must be an id or a list"
    ):
        load(tmp_path, generation_config=ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eos_id": 300}, "eos_id is 300: it must be a token's id below 300"),
        ({"eos_id": None}, "eos_id is None: it must be a token's id"),
        ({"pad_id": True}, "pad_id is True: it must be a token's id"),
        ({"bos_id": "<s>"}, "bos_id is '<s>': it must be a token's id"),
        ({"eos_ids": [-1]}, "eos_ids is -1: it must be a token's id"),
    ],
)
def test_a_tokenizer_is_not_made_with_what_is_no_id(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Tokenizer(trained(), **{"pad_id": 0, "bos_id": None, "eos_id": 2, **changes})


def test_ids_may_be_integers_of_any_kind():
    tokenizer = Tokenizer(trained(), np.int64(0), jnp.int32(1), np.uint8(2), None, np.array([0, 2]))
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_ids) == (0, 1, (2, 0))
    assert all(type(token) is int for token in (tokenizer.pad_id, tokenizer.bos_id, *tokenizer.eos_ids))
    assert Tokenizer(trained(), 0, 1, 2, eos_ids=0).eos_ids == (2, 0)
    assert CharacterTokenizer("ab").eos_ids == (2,)


def test_a_tokenizer_prints_in_one_line():
    assert len(repr(Tokenizer(trained(), 0, 1, 2, "{{ 1 }}"))) < 100


def test_added_tokens_that_only_the_config_names(tmp_path):
    added = {
        "301": {"content": "<call>", "special": False, "normalized": False, **FLAGS},
        "300": {"content": "<|tool|>", "special": True, "normalized": False, **FLAGS},
        "2": {"content": "<|im_end|>", "special": True, "normalized": False, **FLAGS},
    }
    write_folder(tmp_path, {**CONFIG, "added_tokens_decoder": added, "image_token": "<|tool|>"})
    tokenizer = load_tokenizer(tmp_path)
    text = "the<|tool|>cat <call>"
    assert tokenizer.vocab_size == 302
    assert [token for token in tokenizer.encode(text) if token >= 300] == [300, 301]
    assert tokenizer.decode(tokenizer.encode(text)) == "thecat <call>"
    assert tokenizer.encode(text) == theirs(tmp_path).encode(text, add_special_tokens=False)


def test_a_token_of_the_vocabulary_that_is_named_is_special(tmp_path):
    backend = library.Tokenizer(library.models.WordLevel({"a": 0, "</s>": 1, "<p>": 2}, "a"))
    backend.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    backend.enable_padding(pad_id=2, pad_token="<p>")
    backend.save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "tokenizer_config.json", eos_token="</s>")
    tokenizer, other = load_tokenizer(tmp_path), theirs(tmp_path)
    assert tokenizer.encode("a</s>a") == [0, 1, 0] == other.encode("a</s>a")
    assert tokenizer.pad_id == 2 == other.pad_token_id
    assert tokenizer.decode([2, 0]) == "a" == other.decode([2, 0], skip_special_tokens=True)


def test_folders_of_the_older_kind(tmp_path):
    write_folder(tmp_path, {"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"})
    write_json(tmp_path / "special_tokens_map.json", eos_token={"content": "<|im_end|>"}, unk_token="<new>")
    write_json(tmp_path / "added_tokens.json", **{"<new>": 300, "<plain>": 301})
    tokenizer, other = load_tokenizer(tmp_path), theirs(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2) == (other.bos_token_id, other.eos_token_id)
    assert tokenizer.special_tokens["unk_token"] == "<new>" == other.unk_token
    for text in ("the <new> cat<plain>", "<|im_end|>a"):
        assert tokenizer.encode(text) == other.encode(text, add_special_tokens=False)
    shown = tokenizer.encode("a<new>b<plain>")
    assert tokenizer.decode(shown) == "ab<plain>" == other.decode(shown, skip_special_tokens=True)


def test_a_folder_that_transformers_wrote(tmp_path):
    named = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    other = theirs(write_folder(tmp_path, {**CONFIG, "image_token": "<|im_start|>", "chat_template": named}))
    other.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<extra>"]})
    other.add_tokens(["<plain>"])
    other.save_pretrained(tmp_path / "new")
    ours = load_tokenizer(tmp_path / "new")
    assert ours.special_tokens == other.special_tokens_map
    assert (ours.pad_id, ours.chat_template) == (other.pad_token_id, {"default": "a", "tool_use": "b"})
    for text in [*HARD, "a<pad>b<extra>c<plain>d"]:
        ids = other.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ids
        assert ours.decode(ids, special=True) == other.decode(ids)


HARMLESS = {
    "model_max_length": 10, "padding_side": "right", "add_bos_token": True, "add_eos_token": True, "legacy": False,
    "tokenizer_class": "LlamaTokenizer", "clean_up_tokenization_spaces": True, "sp_model_kwargs": {}, "truncation": 3,
    "use_default_system_prompt": True, "model_input_names": ["input_ids"], "add_prefix_space": False,
    "split_special_tokens": False, "errors": "replace", "unheard_of": None, "max_length": 2, "stride": 0,
    "additional_special_tokens": ["<|im_start|>"], "unk_token": None, "name_or_path": "a/b", "eos_token_id": 2,
}  # fmt: skip


def test_harmless_keys_change_nothing(tmp_path):
    (tmp_path / "with").mkdir()
    ours = load_tokenizer(write_folder(tmp_path / "with", {**CONFIG, **HARMLESS}))
    for text in HARD:
        assert ours.encode(text) == trained().encode(text).ids
        assert ours.decode(ours.encode(text), special=True) == text
    assert set(HARMLESS) - {"unheard_of"} <= set(TOKENIZER_KEYS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dream": 3}, "dream is 3: this key is on no list of docs/model_files.md"),
        ({"add_dream_token": True}, "add_dream_token is True: this key is on no list"),
        ({"auto_map": {"AutoTokenizer": ["a.B", None]}}, "auto_map is {'AutoTokenizer': ['a.B', None]}: not supported"),
        ({"split_special_tokens": True}, "split_special_tokens is True: only False is supported"),
        ({"do_lower_case": True}, "do_lower_case is True: only False is supported"),
        ({"errors": "ignore"}, "errors is 'ignore': only 'replace' is supported"),
        ({"add_prefix_space": True}, "add_prefix_space is True: tokenizer.json says False"),
        ({"eos_token": 2}, "eos_token is 2: it must be a text"),
        ({"eos_token": {"text": "a"}}, "eos_token is {'text': 'a'}: it must be a text"),
        ({"unk_token": "<unk>"}, "unk_token is '<unk>', which is not in the vocabulary"),
        ({"image_token": "<img>"}, "image_token is '<img>', which is not in the vocabulary"),
        ({"additional_special_tokens": ["<a>"]}, "additional_special_tokens[0] is '<a>', which is not in the voc"),
        ({"extra_special_tokens": {"boi": "<a>"}}, "boi is '<a>', which is not in the vocabulary"),
        ({"added_tokens_decoder": {"7": {"content": "<a>"}}}, "added_tokens_decoder[7] is '<a>', whose id is 300"),
        ({"added_tokens_decoder": {"0": {"content": "<|im_end|>"}}}, "[0] is '<|im_end|>', whose id is 2"),
        ({"added_tokens_decoder": {"0": "<|im_end|>"}}, "added_tokens_decoder[0] is '<|im_end|>': it must be a token"),
        ({"bos_token_id": 2}, "bos_token_id is 2, but bos_token is '<|im_start|>'"),
        ({"pad_token_id": 2}, "pad_token_id is 2, but pad_token is None"),
        ({"chat_template": 3}, "chat_template is 3: it must be a text"),
        ({"chat_template": {"a": 3}}, "chat_template is {'a': 3}: it must be a text"),
        ({"added_tokens_decoder": {"a": {}}}, "added_tokens_decoder is {'a': {}}: it must be tokens by their ids"),
        ({"added_tokens_decoder": {"2": {"content": "a", "special": 1}}}, "'special': 1}: it must be a token"),
        ({"eos_token": ["</s>"]}, "eos_token is ['</s>']: it must be a text"),
        ({"additional_special_tokens": [5]}, "additional_special_tokens[0] is 5, which is not in the vocabulary"),
        ({"chat_template": [{"name": "a"}]}, "each needs name and template"),
    ],
)  # fmt: skip
def test_keys_that_ask_for_something_else_are_refused_in_one_line(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_tokenizer(write_folder(tmp_path, {**CONFIG, **changes}))
    assert "tokenizer_config.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_text_that_would_have_other_ids_each_time_is_refused(tmp_path):
    write_folder(tmp_path, CONFIG)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["dropout"] = 0.1
    write_json(tmp_path / "tokenizer.json", **content)
    with pytest.raises(
        ValueError, match=r"tokenizer\.json: dropout is 0\.1: the same text would have other ids"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({}, (2, 0)),  # <|endoftext|> ends a sequence by its name, as in llama.cpp
        ({"eos_token_id": 0, "eot_token_id": 2}, (0, 2)),
        ({"eot_token_id": 5, "eom_token_id": 6}, (2, 5, 6, 0)),
        ({"token_type": [1] * 300}, (2,)),
    ],
)
def test_a_gguf_file_may_name_several_ends(changes, ends, tmp_path):
    tokenizer = load_tokenizer(write_gguf(tmp_path / "model.gguf", **changes))
    assert tokenizer.eos_ids == ends


def test_a_gguf_file_may_hold_several_templates():
    metadata = {"tokenizer.chat_template": "a", "tokenizer.chat_template.rag": "b", "tokenizer.ggml.pre": "c"}
    assert _templates(metadata) == {"default": "a", "rag": "b"}
    assert _templates({"tokenizer.chat_template": "a"}) == "a"
    assert _templates({"tokenizer.chat_template.rag": "b"}) == {"rag": "b"}
    assert _templates({}) is None


def test_a_gguf_file_names_tokens_for_its_template(tmp_path):
    tokenizer = load_tokenizer(write_gguf(tmp_path / "model.gguf", padding_token_id=0))
    assert tokenizer.special_tokens == {
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    }  # fmt: skip
    tokenizer = load_tokenizer(write_gguf(tmp_path / "other.gguf", bos_token_id=None, unknown_token_id=0))
    assert tokenizer.special_tokens == {"eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"suppress_tokens": [1]},
            "tokenizer.ggml.suppress_tokens is [1]: this key is on no list",
        ),
        ({"precompiled_charsmap": [1]}, "tokenizer.ggml.precompiled_charsmap is [1]"),
        ({"normalizer.lowercase": 1}, "tokenizer.ggml.normalizer.lowercase is 1: only False is supported"),
        ({"eot_token_id": 300}, "tokenizer.ggml.eot_token_id is 300: there are 300 tokens"),
    ],
)
def test_metadata_that_ask_for_something_else_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_tokenizer(write_gguf(tmp_path / "model.gguf", **changes))


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("llama-bpe", ["I", "'LL", "Ġsay", "Ġ(", "hello", ")", "Ġ", "123", "45", "ĊĊ", "x"]),
        ("qwen2", ["I", "'LL", "Ġsay", "Ġ(", "hello", ")", "Ġ", "1", "2", "3", "4", "5", "ĊĊ", "x"]),
        ("gpt-2", ["I", "'", "LL", "Ġsay", "Ġ(", "hello", ")", "Ġ12345", "Ċ", "Ċ", "x"]),
        ("smollm", ["I", "'", "LL", "Ġsay", "Ġ(", "hello", ")", "Ġ", "1", "2", "3", "4", "5", "Ċ", "Ċ", "x"]),
        ("default", ["I", "'", "LL", "Ġsay", "Ġ", "(", "hello", ")", "Ġ", "123", "45", "Ċ", "Ċ", "x"]),
        (None, ["I", "'", "LL", "Ġsay", "Ġ", "(", "hello", ")", "Ġ", "123", "45", "Ċ", "Ċ", "x"]),
    ],
)
def test_text_is_cut_as_llama_cpp_cuts_it(pre, pieces, tmp_path):
    tokenizer = load_tokenizer(write_gguf(tmp_path / "model.gguf", pre=pre))
    cut = tokenizer.backend.pre_tokenizer.pre_tokenize_str("I'LL say (hello) 12345\n\nx")
    assert [piece for piece, _ in cut] == pieces


@pytest.mark.parametrize("source", ["folder", "gguf"])
def test_what_is_saved_is_what_was_loaded(source, tmp_path):
    if source == "gguf":
        before = load_tokenizer(write_gguf(tmp_path / "model.gguf", padding_token_id=0))
    else:
        named = [
            {"name": "default", "template": "{{ bos_token }}a<\n"},
            {"name": "tool_use", "template": "é"},
        ]
        config = {**CONFIG, "chat_template": named, "extra_special_tokens": {"boi": "<|endoftext|>"}}
        before = load(tmp_path, config, generation_config=[0, 2, 5])
    save_tokenizer(tmp_path / "new" / "folder", before)
    after, other = load_tokenizer(tmp_path / "new" / "folder"), theirs(tmp_path / "new" / "folder")
    for name in ("pad_id", "bos_id", "eos_id", "eos_ids", "chat_template", "special_tokens", "vocab_size"):
        assert getattr(after, name) == getattr(before, name)
    chat = [{"role": "user", "content": "x & é"}]
    assert after.chat(chat) == before.chat(chat)
    assert after.chat(chat) == other.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    for text in HARD:
        assert after.encode(text) == before.encode(text) == other.encode(text, add_special_tokens=False)
        assert after.decode(after.encode(text)) == before.decode(before.encode(text))
    assert (other.bos_token_id, other.eos_token_id) == (before.bos_id, before.eos_id)


def test_saving_where_it_was_loaded_keeps_what_was_there(tmp_path):
    write_folder(
        tmp_path, {**CONFIG, "chat_template": "old", "model_max_length": 7, "tokenizer_class": "Own"}
    )
    write_json(tmp_path / "generation_config.json", eos_token_id=[2, 0], top_p=0.5, bos_token_id=1)
    write_json(tmp_path / "special_tokens_map.json", eos_token="<|im_end|>")
    write_json(tmp_path / "config.json", eos_token_id=2, hidden_size=3)
    (tmp_path / "chat_template.jinja").write_text("{{ 'new' }}")
    save_tokenizer(tmp_path, load_tokenizer(tmp_path))
    read = lambda name: json.loads((tmp_path / name).read_text())
    assert read("generation_config.json") == {"eos_token_id": [2, 0], "top_p": 0.5, "bos_token_id": 1}
    assert read("config.json") == {"eos_token_id": 2, "hidden_size": 3}
    config = read("tokenizer_config.json")
    assert (config["model_max_length"], config["tokenizer_class"]) == (7, "Own")
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ 'new' }}"
    assert load_tokenizer(tmp_path).eos_ids == (2, 0)


def test_templates_that_are_gone_leave_no_file(tmp_path):
    tokenizer = Tokenizer(trained(), 0, 1, 2, {"default": "a", "tool_use": "b"})
    save_tokenizer(tmp_path, tokenizer)
    assert load_tokenizer(tmp_path).chat_template == {"default": "a", "tool_use": "b"}
    save_tokenizer(tmp_path, Tokenizer(trained(), 0, 1, 2))
    assert load_tokenizer(tmp_path).chat_template is None
    with pytest.raises(ValueError, match=re.escape("the chat template '../x' cannot be a file's name")):
        save_tokenizer(tmp_path, Tokenizer(trained(), 0, 1, 2, {"../x": "a"}))
    with pytest.raises(ValueError, match="only a Tokenizer has a form in files, got CharacterTokenizer"):
        save_tokenizer(tmp_path, CharacterTokenizer("ab"))


def test_a_token_with_a_name_is_special_whatever_its_flag_says(tmp_path):
    plain = {"300": {"content": "<|tool|>", "special": False, "normalized": False, **FLAGS}}
    for name in ({"image_token": "<|tool|>"}, {"extra_special_tokens": {"boi_token": "<|tool|>"}}):
        write_folder(tmp_path, {**CONFIG, **name, "added_tokens_decoder": plain})
        tokenizer, text = load_tokenizer(tmp_path), "the<|tool|>cat"
        assert tokenizer.encode(text) == theirs(tmp_path).encode(text, add_special_tokens=False)
        shown = theirs(tmp_path).decode(tokenizer.encode(text), skip_special_tokens=True)
        assert tokenizer.decode(tokenizer.encode(text)) == "thecat" == shown
        save_tokenizer(tmp_path / "saved", tokenizer)
        assert load_tokenizer(tmp_path / "saved").decode(tokenizer.encode(text)) == "thecat"


@examples(150)
@hypothesis.given(
    values=st.dictionaries(st.sampled_from(sorted([*TOKENIZER_KEYS, "image_token"])), ODD, max_size=3)
)
def test_any_configuration_gives_a_tokenizer_or_one_line(values, tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("fuzz"), {**CONFIG, **values})
    try:
        tokenizer = load_tokenizer(folder)
        assert tokenizer.decode(tokenizer.encode("the cat"), special=True) == "the cat"
    except ValueError as error:
        assert str(folder) in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 600
