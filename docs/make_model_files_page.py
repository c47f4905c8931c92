"""Write docs/model_files.md out of the loaders' tables; with `--check` only say, by exit status 1, that it is stale."""

import pathlib
import sys
from collections.abc import Mapping

from jaxlab.language._adapter_keys import ADAPTER_KEYS
from jaxlab.language._config_keys import CONFIG_KEYS, GENERATION_KEYS, ROPE_KEYS
from jaxlab.language._gguf_keys import GGUF_KEYS
from jaxlab.language._key_rules import HARMLESS, HONOURED, ONLY, Rule, Rules
from jaxlab.language._tokenizer_keys import GGUF_TOKENIZER_KEYS, TOKENIZER_KEYS

PAGE = pathlib.Path(__file__).resolve().parent / "model_files.md"
INTRODUCTION = """\
# Model files: which keys are honoured

`load_hugging_face`, `load_lora`, `load_gguf`, `load_tokenizer` and `end_ids` judge every key of the files they read. A
key is honoured, or it is known to change nothing, or the file is refused in one line that names the key and its value.
A key that is on no list is refused too: it may change what the model computes. If you know that it does not, delete it
from the file. A key that is null asks for nothing. Where a key is absent, the default of transformers, PEFT or
llama.cpp is taken. The column "as" names the field of `Decoder` or of its `RopeScaling`, the argument, or the function
that takes the value.

How a folder is read, trained and written: [fine-tune a model from Hugging Face](fine_tuning.md).

In the folder also count: `adapter_config.json` beside a model is refused, since transformers would attach it; an
`lm_head` that differs from the embedding is used, whatever `tie_word_embeddings` says; tensors without a place in the
model are refused, but for `rotary_emb.inv_freq`, which follows from the configuration.

`save_hugging_face` writes the keys that are honoured from the model. The others stay as the folder, or `source`, has
them if they are known to change nothing, and so do the ends of a sequence, `generation_config.json`, the tokenizer and
the chat template. `save_lora` does the same with `adapter_config.json`.

`python docs/make_model_files_page.py` writes this page from the tables that the loaders read.
"""


def by_variant(tables: Mapping[str, Rules]) -> dict[str, Rule]:
    """One table of several: a key whose rule is not the same everywhere is listed by variant."""
    merged = {}
    for key in dict.fromkeys(key for table in tables.values() for key in table):
        rules = {name: table[key] for name, table in tables.items() if key in table}
        for rule in (rule for i, rule in enumerate(rules.values()) if rule not in list(rules.values())[:i]):
            names = [name for name, other in rules.items() if other == rule]
            merged[f"`{key}`" if len(names) == len(tables) else f"`{key}` ({', '.join(names)})"] = rule
    return merged


def plain(table: Rules) -> dict[str, Rule]:
    """A table with its keys as the page shows them."""
    return {f"`{key}`": rule for key, rule in table.items()}


def section(title: str, rules: Mapping[str, Rule]) -> str:
    """What is honoured, what is accepted with some values only, and what changes nothing."""
    lines = [f"## {title}", "", "| honoured | as |", "|---|---|"]
    lines += [f"| {key} | {rule.text} |" for key, rule in rules.items() if rule.verdict == HONOURED]
    lines += ["", "| accepted with these values only | others ask for |", "|---|---|"]
    for key, rule in rules.items():
        if rule.verdict == ONLY:
            values = ", ".join(f"`{value!r}`" for value in rule.values) or "`null`"
            lines.append(f"| {key}: {values} | {rule.text} |")
    lines += ["", "| changes nothing | because |", "|---|---|"]
    harmless = {key: rule.text for key, rule in rules.items() if rule.verdict == HARMLESS}
    for text in dict.fromkeys(harmless.values()):
        lines.append(f"| {', '.join(key for key, other in harmless.items() if other == text)} | {text} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    gguf = {key.replace("llama.", "{arch}.", 1): rule for key, rule in GGUF_KEYS["llama"].items()}
    sections = (
        section("`config.json` of Llama, SmolLM2, Qwen2 and Qwen3", by_variant(CONFIG_KEYS)),
        section("`rope_scaling` and `rope_parameters` in it, by `rope_type`", by_variant(ROPE_KEYS)),
        section("`generation_config.json`", plain(GENERATION_KEYS)),
        section("`adapter_config.json` of PEFT", plain(ADAPTER_KEYS)),
        section("`tokenizer_config.json` and `special_tokens_map.json`", plain(TOKENIZER_KEYS)),
        section("Metadata of a GGUF file; {arch} is llama, qwen2 or qwen3", plain(gguf)),
        section("Metadata of a GGUF file that is the tokenizer's", plain(GGUF_TOKENIZER_KEYS)),
    )
    return "\n".join((INTRODUCTION, *sections))


def main(argv: list[str]) -> int:
    """0 when the page is, or was brought, up to date; 1 when `--check` finds it stale."""
    new = page()
    if "--check" in argv:
        return int(not PAGE.is_file() or PAGE.read_text() != new)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
