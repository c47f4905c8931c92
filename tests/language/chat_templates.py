"""Small chat templates, each with what a public family's is made of, and conversations for them."""

import pathlib

FOLDER = pathlib.Path(__file__).parents[1] / "golden" / "language" / "chat_templates"
TEMPLATES = {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.jinja"))}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "What it's like <now> & later, in °C",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 2]}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {}}},
]
DOCUMENTS = [{"title": "A <b>", "text": 'it\'s "quoted" & so on'}, {"title": "Ł", "text": "中文"}]
_CALL = {
    "type": "function",
    "id": "abc123def",
    "function": {"name": "weather", "arguments": {"city": "Łódź & <co>"}},
}
CHATS = {
    "system": [
        {"role": "system", "content": "Be \"brief\" & <kind>."},
        {"role": "user", "content": "  2 < 3?\n"},
        {"role": "assistant", "content": "Yes, it's so. 😀"},
        {"role": "user", "content": "Sure?\n\nReally"},
    ],
    "turns": [
        {"role": "user", "content": "é"},
        {"role": "assistant", "content": "<think>hm & hm</think>\n\nno"},
        {"role": "user", "content": "why"},
    ],
    "one": [{"role": "user", "content": "a"}],
    "tools": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "name": "weather", "tool_call_id": "abc123def", "content": '{"t": 3}'},
        {"role": "tool", "name": "now", "tool_call_id": "abc123dee", "content": "12 o'clock"},
        {"role": "assistant", "content": "No", "reasoning_content": "3 < 10\n"},
        {"role": "user", "content": "Thanks"},
    ],
    "thoughts": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "thinking": "because"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "reasoning": "of <that>"},
    ],
    "parts": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "x & y"}, {"type": "image"}, {"type": "text", "text": "z"}],
        }
    ],
    "system twice": [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}],
    "assistant first": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
}  # fmt: skip
# What else a template may be told, under names of its own.
VARIABLES = {
    "nothing": {},
    "no answer": {"add_generation_prompt": False},
    "tools": {"tools": TOOLS},
    "documents": {"documents": DOCUMENTS},
    "no thoughts": {"enable_thinking": False, "date_string": "1 May"},
    "other tokens": {"bos_token": "<|x|>", "enable_thinking": True, "names": ["a", "<b>"], "level": 2},
}
