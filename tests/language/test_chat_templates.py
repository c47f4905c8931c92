"""Chat templates render as transformers renders them, token by token, and fail where it does."""

import dataclasses
import datetime
import enum
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import Tokenizer, load_tokenizer
from tests.language.chat_templates import CHATS, TEMPLATES, TOOLS, VARIABLES

library = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
pytest.importorskip("jinja2", reason="jinja2 is not installed")

SPECIAL = [
    "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<start_of_turn>", "<end_of_turn>", "<image>",
]  # fmt: skip
ONLY_IN_THE_CONFIG = {"<｜User｜>": True, "<｜Assistant｜>": True, "<think>": False, "<tool_call>": False}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "image_token": "<image>"}


def write_folder(folder, **config):
    """A byte-level vocabulary; some of its tokens are named by `added_tokens_decoder` alone."""
    backend = library.Tokenizer(library.models.BPE({c: i for i, c in enumerate(_letters())}, []))
    backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = library.decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    backend.save(str(folder / "tokenizer.json"))
    first = backend.get_vocab_size()
    added = {
        str(first + i): {"content": text, "special": special, "normalized": False}
        for i, (text, special) in enumerate(ONLY_IN_THE_CONFIG.items())
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": added, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def _letters():
    return sorted(library.pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Ours and theirs, for templates given with the call."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = write_folder(tmp_path_factory.mktemp("chat"), **TOKENS, chat_template="{{ 1 }}")
    return load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def _both(pair, chat, **options):
    """What each makes of a conversation: the text, or None where the template refuses."""
    ours, theirs = pair
    try:
        expected = theirs.apply_chat_template(
            chat, **{"add_generation_prompt": True, **options}, tokenize=False
        )
    except Exception:
        expected = None
    try:
        found = ours.chat(chat, **options)
    except ValueError as error:
        assert "\n" not in str(error)
        found = None
    return found, expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_render_as_in_transformers(name, pair):
    rendered = set()
    for chat in CHATS.values():
        for variables in VARIABLES.values():
            found, expected = _both(pair, chat, chat_template=TEMPLATES[name], **variables)
            assert found == expected
            rendered.add(found)
    assert len(rendered - {None}) >= 5
    for text in rendered - {None}:
        assert pair[0].encode(text) == pair[1].encode(text, add_special_tokens=False)
        assert pair[0].decode(pair[0].encode(text), special=True) == text


def test_json_is_plain():
    call = {"unit": "°C", "city": "Łódź", "note": "a<b & it's"}
    chat, dumped = [{"role": "assistant", "call": call}], json.dumps(call, ensure_ascii=False)
    for template, text in [
        ("{{ messages[0].call | tojson }}", dumped),
        (
            "{{ '<|im_start|>' + (messages[0].call | tojson) + '<|im_end|>' }}",
            f"<|im_start|>{dumped}<|im_end|>",
        ),
        ("{{ messages[0].call | tojson(indent=2) }}", json.dumps(call, ensure_ascii=False, indent=2)),
        (
            "{{ messages[0].call | tojson(ensure_ascii=true, sort_keys=true) }}",
            json.dumps(call, sort_keys=True),
        ),
        ("{{ [1, none] | tojson(separators=(',', ':')) }}", "[1,null]"),
        ("{{ '\u2028</script>' | tojson }}", '"\u2028</script>"'),
    ]:
        assert _tokenizer(template).chat(chat) == text


def test_today_is_told():
    today = lambda: datetime.datetime.now().strftime("%d %b %Y")
    before = today()
    assert _tokenizer("{{ strftime_now('%d %b %Y') }}").chat(CHATS["one"]) in (before, today())


@pytest.mark.parametrize(
    "tokens", [TOKENS, {"eos_token": "</s>"}, {"eos_token": "</s>", "pad_token": "<|end|>"}]
)
def test_tokens_that_are_not_named_are_undefined(tokens, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = write_folder(tmp_path, **tokens, chat_template=TEMPLATES["token_names"])
    pair = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    found, expected = _both(pair, CHATS["one"])
    assert found == expected
    assert found.startswith("<s>|False|<unk>|<image>" if "bos_token" in tokens else "no bos|")


def test_the_template_for_tools_is_taken_for_tools(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    named = {"default": "{{ 'plain' }}", "tool_use": "{{ tools | length }}", "rag": "{{ documents[0].text }}"}
    listed = [{"name": name, "template": template} for name, template in named.items()]
    folder = write_folder(tmp_path, **TOKENS, chat_template=listed)
    pair = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    for options, text in [
        ({}, "plain"),
        ({"tools": TOOLS}, "2"),
        ({"tools": []}, "0"),
        ({"chat_template": "rag", "documents": [{"text": "<x>"}]}, "<x>"),
        ({"chat_template": "{{ 3 }}"}, "3"),
    ]:
        assert _both(pair, CHATS["one"], **options) == (text, text)
    with pytest.raises(
        ValueError, match=r"no chat template 'rga': chat_template may be \['default', 'rag', 'tool_use'\]"
    ):
        pair[0].chat(CHATS["one"], chat_template="rga")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "short.jinja").write_text("{{ 'short' }}")
    pair = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert _both(pair, CHATS["one"]) == (None, None)  # files go before the config, and none is the default
    assert _both(pair, CHATS["one"], chat_template="short") == ("short", "short")
    (folder / "chat_template.jinja").write_text("{{ 'file' }}")
    pair = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert _both(pair, CHATS["one"]) == ("file", "file")


class _Mood(enum.StrEnum):
    GOOD = "good"


@dataclasses.dataclass
class _Message:
    role: str
    content: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.bool_(False), "falsefalse"),
        (np.int64(3), "3true"),
        (np.float32(0.5), "0.5true"),
        (np.str_("a<"), '"a<"true'),
        (jnp.int32(0), "0false"),
        (_Mood.GOOD, '"good"true'),
        (_Message("a", "b"), '{"role": "a", "content": "b"}true'),
        ((1, None), "[1, null]true"),
        ({"é": [True]}, '{"é": [true]}true'),
    ],
)
def test_what_a_template_is_told_counts_by_its_value(value, text):
    template = "{{ x | tojson }}{{ 'true' if x else 'false' }}"
    assert _tokenizer(template).chat(CHATS["one"], x=value) == text


def _tokenizer(template):
    return Tokenizer(library.Tokenizer(library.models.WordLevel({"a": 0}, "a")), 0, None, 0, template)


def test_messages_may_be_objects_and_are_left_as_they_are():
    chat = [_Message("user", "hi"), {"role": "assistant", "content": "a", "tool_calls": None}]
    tokenizer = _tokenizer("{{ messages | tojson }}")
    assert json.loads(tokenizer.chat(chat)) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a"},
    ]
    assert chat[1] == {"role": "assistant", "content": "a", "tool_calls": None}


def test_a_template_cannot_change_or_reach_what_is_not_its_own():
    for template in (
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{{ messages.__class__ }}{{ messages.__class__.__mro__ }}",
        "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__['x'] }}",
        "{{ strftime_now.__globals__['datetime'] }}",
    ):
        with pytest.raises(ValueError, match="the chat template refuses"):
            _tokenizer(template).chat(CHATS["one"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"messages": []}, "messages are empty: a conversation has at least one"),
        ({"messages": "hi"}, "messages must be a list of dicts, got 'hi'"),
        ({"messages": {"role": "user", "content": "a"}}, "messages must be a list of dicts, got {'role'"),
        (
            {"messages": [{"role": "user"}]},
            "message {'role': 'user'} must be a dict with 'role' and 'content'",
        ),
        (
            {"messages": [{"content": "a"}]},
            "message {'content': 'a'} must be a dict with 'role' and 'content'",
        ),
        (
            {"tools": "weather"},
            "tools must be a list of dicts, such as get_json_schema of transformers makes",
        ),
        ({"tools": [len]}, "tools must be a list of dicts"),
        ({"documents": {"text": "a"}}, "documents must be a list of dicts, got {'text': 'a'}"),
        ({"x": np.ones(2)}, "a chat template takes text, numbers, lists and dicts, got ndarray"),
        ({"x": {1, 2}}, "a chat template takes text, numbers, lists and dicts, got set {1, 2}"),
        ({"tokenize": False}, "chat has no 'tokenize': it gives text"),
        (
            {"continue_final_message": True},
            "chat has no 'continue_final_message': it gives text, to which one may add",
        ),
    ],
)
def test_what_is_no_conversation_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        _tokenizer("{{ messages | length }}").chat(**{"messages": CHATS["one"], **options})
    assert "\n" not in str(error.value)
