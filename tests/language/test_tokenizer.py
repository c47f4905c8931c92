import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import Decoder, Tokenizer, check_vocabulary, load_tokenizer

library = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "the cat sat on the mat at 12:34, don't they? " * 3,
    "mañana the thermometer shows 1234 °C\n\n  again " * 3,
]
CHAT = (
    "{% for message in messages %}\n"
    "{{ '<|im_start|>' + message['role'] + ' ' + message['content'] + eos_token }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)
HARD = [
    "the cat, 1234!", "  spaces   \n\n\ttabs\r\n", "mañana °C 😀 中文", "don't DON'T we'LL",
    "x<|im_end|>y", "", "a1b22c333", "e\u0301clair",
]  # fmt: skip


@functools.cache
def trained(pre="smollm"):
    """Byte-level BPE of 300 tokens, trained by the package itself."""
    if pre == "smollm":
        parts = [library.pre_tokenizers.Digits(True), library.pre_tokenizers.ByteLevel(False, use_regex=True)]
    else:
        parts = [library.pre_tokenizers.ByteLevel(False, use_regex=True)]
    backend = library.Tokenizer(library.models.BPE())
    backend.pre_tokenizer = library.pre_tokenizers.Sequence(parts)
    backend.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    return backend


def write_folder(folder, config=None, pre="smollm"):
    trained(pre).save(str(folder / "tokenizer.json"))
    default = {"eos_token": "<|im_end|>", "bos_token": {"content": "<|im_start|>"}, "chat_template": CHAT}
    (folder / "tokenizer_config.json").write_text(json.dumps(default if config is None else config))
    return folder


def write_gguf(path, trained_with="smollm", **changes):
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    model = json.loads(trained(trained_with).to_str())["model"]
    writer = gguf.GGUFWriter(path, "llama")
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    values = {
        "model": "gpt2",
        "pre": trained_with,
        "tokens": tokens,
        "merges": [" ".join(pair) for pair in model["merges"]],
        "token_type": [3 if token in SPECIAL else 1 for token in tokens],
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | changes
    add = {str: writer.add_string, int: writer.add_uint32, list: writer.add_array}
    for key, value in values.items():
        if value is not None:
            add[type(value)](f"tokenizer.ggml.{key}", value)
    writer.add_chat_template(CHAT)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_folder(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("text", HARD)
def test_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), special=True) == text


def test_ids_are_those_of_the_file(tokenizer):
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (2, 1, 2, 300)
    the = tokenizer.encode("the cat the")
    assert the[0] != the[-1]  # without and with the space before it
    assert tokenizer.encode(" the") == the[-1:]
    digits = tokenizer.encode("1234")
    assert [tokenizer.decode([token]) for token in digits] == list("1234")
    assert tokenizer.encode("<|im_start|>the<|im_end|>") == [1, the[0], 2]


def test_decoding_stops_at_the_end_and_skips_what_is_not_text(tokenizer):
    the, cat = tokenizer.encode("the cat")[0], tokenizer.encode("the cat")[1:]
    assert tokenizer.decode([1, the, *cat, 2, the]) == "the cat"
    assert tokenizer.decode(jnp.array([1, the, 2, the]), special=True) == "<|im_start|>the<|im_end|>the"
    assert tokenizer.decode([the, 300, 10**6, -1]) == "the"
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([tokenizer.encode("😀")[0]]) == "\ufffd"  # the first of four bytes


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded_on_the_side_asked_for(tokenizer, side):
    one, two = tokenizer.encode("the"), tokenizer.encode("cat sat on")
    tokens, mask = tokenizer.encode_batch(["the", "cat sat on"], len(two) + 2, side=side, bos=True, eos=True)
    assert tokens.dtype == jnp.int32
    assert mask.dtype == jnp.bool_
    padding = len(two) - len(one)
    short = [1, *one, 2]
    rows = [[*[2] * padding, *short] if side == "left" else [*short, *[2] * padding], [1, *two, 2]]
    np.testing.assert_array_equal(tokens, rows)
    valid = np.arange(len(two) + 2) >= padding if side == "left" else np.arange(len(two) + 2) < len(short)
    np.testing.assert_array_equal(mask, [valid, np.ones_like(valid)])
    assert tokenizer.encode_batch([], 4)[0].shape == (0, 4)


def test_a_tokenizer_is_a_static_argument(tokenizer):
    pad = jax.jit(lambda x, tokenizer: x + tokenizer.pad_id, static_argnums=1)
    assert int(pad(1, tokenizer)) == 3


def test_chat_renders_the_template(tokenizer):
    messages = [{"role": "user", "content": "the <b>&"}, {"role": "assistant", "content": "cat"}]
    # trim_blocks drops the line end after each block tag, not the ones after expressions.
    start = "<|im_start|>user the <b>&<|im_end|>\n<|im_start|>assistant cat<|im_end|>\n"
    assert tokenizer.chat(messages, add_generation_prompt=False) == start
    assert tokenizer.chat(messages) == start + "<|im_start|>assistant "
    assert tokenizer.encode(tokenizer.chat(messages))[0] == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "this tokenizer has no chat template"),
        ("{{ raise_exception('roles must\nalternate') }}", "the chat template refuses: roles must alternate"),
        ("{% if %}", "the chat template refuses: "),
        ("{{ messages.__class__.__mro__ }}", "the chat template refuses: "),
        ("{{ 'a' + 1 }}", "the chat template refuses: can only concatenate str"),
    ],
)
def test_templates_that_fail_are_one_line(tokenizer, template, message):
    other = Tokenizer(tokenizer.backend, 0, 1, 2, template)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        other.chat([{"role": "user", "content": "hi"}])
    assert "\n" not in str(error.value)


def test_calls_that_cannot_be_are_named(tokenizer):
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'up'"):
        tokenizer.encode_batch(["the"], 4, side="up")
    with pytest.raises(ValueError, match="text 1 has 9 tokens, more than length 8: '123456789'"):
        tokenizer.encode_batch(["the", "123456789"], 8)
    for texts in ("the", b"the", {"the": 1}):
        line = f"^{re.escape(f'texts must be a list, got {texts!r}; a single one is a list of one')}$"
        with pytest.raises(ValueError, match=line):
            tokenizer.encode_batch(texts, 8)
    with pytest.raises(
        ValueError, match=re.escape("texts must be a list of texts, got ('a', 'b') as number 1")
    ):
        tokenizer.encode_batch(["the", ("a", "b")], 8)
    with pytest.raises(ValueError, match=re.escape("encode takes one text, got ['the']; several are for")):
        tokenizer.encode(["the"])
    with pytest.raises(ValueError, match="bos is True: this tokenizer has no id that begins"):
        Tokenizer(tokenizer.backend, 0, None, 2).encode_batch(["the"], 8, bos=True)
    with pytest.raises(ValueError, match=re.escape("message 'hi' must be a dict with 'role' and 'content'")):
        tokenizer.chat(["hi"])


@pytest.mark.parametrize("pre", ["smollm", "gpt-2"])
def test_a_gguf_file_gives_the_same_tokenizer(pre, tmp_path):
    ours = load_tokenizer(write_gguf(tmp_path / "model.gguf", pre))
    theirs = trained(pre)
    for text in [*HARD, *TEXT]:
        assert ours.encode(text) == theirs.encode(text).ids
    assert (ours.pad_id, ours.bos_id, ours.eos_id, ours.vocab_size) == (2, 1, 2, 300)
    assert (
        ours.chat([{"role": "user", "content": "hi"}])
        == "<|im_start|>user hi<|im_end|>\n<|im_start|>assistant "
    )
    assert ours.decode(ours.encode("x<|im_start|>y")) == "xy"


def test_qwen2s_way_of_cutting(tmp_path):
    # Words take one leading sign or space, digits stand alone, line ends go together; text is composed (NFC).
    ours = load_tokenizer(write_gguf(tmp_path / "model.gguf", pre="qwen2"))
    cut = ours.backend.pre_tokenizer.pre_tokenize_str("I'LL say (hello) 12\n\nx")
    parts = [part for part, _ in cut]
    assert parts == ["I", "'LL", "Ġsay", "Ġ(", "hello", ")", "Ġ", "1", "2", "ĊĊ", "x"]
    assert ours.decode(ours.encode("e\u0301clair")) == "\u00e9clair"


def test_special_ids_may_be_written_in_several_ways(tmp_path):
    write_folder(tmp_path, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.chat_template) == (
        0,
        None,
        2,
        None,
    )
    templates = [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]
    write_folder(tmp_path, {"eos_token": "<|im_end|>", "chat_template": templates})
    assert load_tokenizer(tmp_path).chat([{"role": "user", "content": "hi"}]) == "a"
    (tmp_path / "chat_template.jinja").write_text("c")
    assert load_tokenizer(tmp_path).chat([{"role": "user", "content": "hi"}]) == "c"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "/tokenizer_config.json names no eos_token"),
        ({"eos_token": "<eos>"}, "eos_token is '<eos>', which is not in the vocabulary"),
    ],
)
def test_special_ids_that_are_not_there_are_named(config, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_tokenizer(write_folder(tmp_path, config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "llama"}, "tokenizer.ggml.model is 'llama': only 'gpt2', byte-level BPE, is supported"),
        ({"tokens": None}, "tokenizer.ggml.tokens or merges are missing, or a token occurs twice"),
        ({"tokens": ["a", "a"]}, "or a token occurs twice"),
        ({"merges": ["no such"]}, "merge 'no such' speaks of tokens that are not there"),
        ({"pre": "tekken"}, "tokenizer.ggml.pre is 'tekken': it must be 'smollm', 'gpt-2' or 'qwen2'"),
        ({"eos_token_id": None}, "tokenizer.ggml.eos_token_id is missing"),
        ({"bos_token_id": 300}, "tokenizer.ggml.bos_token_id is 300: there are 300 tokens"),
    ],
)
def test_gguf_metadata_that_do_not_fit_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_tokenizer(write_gguf(tmp_path / "model.gguf", **changes))


def test_files_that_are_not_there_or_broken_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json does not exist"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version"')
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer: "):
        load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"none\.gguf does not exist"):
        load_tokenizer(tmp_path / "none.gguf")


def test_vocabularies_must_fit(tokenizer):
    check_vocabulary(Decoder(vocab_size=300), tokenizer)
    check_vocabulary(Decoder(vocab_size=320), tokenizer)  # padded rows
    check_vocabulary(Decoder(vocab_size=320), Decoder(vocab_size=320, width=8))
    message = "the model has a vocabulary of 299 ids and the tokenizer of 300: it must not be smaller"
    with pytest.raises(ValueError, match=message):
        check_vocabulary(Decoder(vocab_size=299), tokenizer)
    with pytest.raises(
        ValueError, match="the models have vocabularies of 320 and 300 ids: they must be the same"
    ):
        check_vocabulary(Decoder(vocab_size=320), Decoder(vocab_size=300))
