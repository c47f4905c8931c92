"""Every key of a tokenizer's files has its place: honoured, of no effect here, or refused in one line."""

import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Keys(NamedTuple):
    """What is known of a format.

    Attributes:
      honoured: keys that are read.
      harmless: keys that change no id and no text here, and why.
      only: keys for what is not supported, and the values that do not ask for it.
    """

    honoured: Collection[str]
    harmless: Mapping[str, str]
    only: Mapping[str, tuple]


def _by_key(reasons: Mapping[str, str]) -> dict[str, str]:
    return {key: reason for reason, keys in reasons.items() for key in keys.split()}


TOKENIZER_CONFIG = Keys(
    honoured=(
        *SPECIAL_TOKENS,
        *(f"{name}_id" for name in SPECIAL_TOKENS),
        *("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"),
        *(
            "model_specific_special_tokens",
            "chat_template",
            "add_prefix_space",
            "clean_up_tokenization_spaces",
        ),
    ),
    harmless=_by_key(
        {
            "tokenizer.json holds the outcome": "tokenizer_class tokenizer_type legacy from_slow use_fast backend "
            "sp_model_kwargs spaces_between_special_tokens trim_offsets normalization keep_accents never_split "
            "do_basic_tokenize tokenize_chinese_chars vocab_file merges_file tokenizer_file special_tokens_map_file "
            "init_inputs tokenizer_version transformers_version vocab_size model_type",
            "only encode_batch(bos=True, eos=True) adds them": "add_bos_token add_eos_token",
            "every call says it": "padding_side padding pad_to_multiple_of model_input_names return_token_type_ids "
            "return_tensors",
            "nothing is cut: a text that is too long is an error": "model_max_length max_len max_length stride "
            "truncation truncation_side truncation_strategy max_model_input_sizes",
            "there are no token types": "pad_token_type_id token_type_ids_pattern cls_token_box sep_token_box "
            "pad_token_box",
            "for readers of answers, not of prompts": "response_schema response_template chat_control_tokens",
            "the template of the file is used, never a default": "use_default_system_prompt",
            "where the files came from": "name_or_path _name_or_path _commit_hash _from_auto processor_class is_local "
            "local_files_only files_loaded cache_dir revision subfolder device_map trust_remote_code verbose "
            "use_auth_token",
        }
    ),
    only={
        "auto_map": (),
        "fast_tokenizer_files": (),
        "split_special_tokens": (False,),
        "do_lower_case": (False,),
        "strip_accents": (False,),
        "errors": ("replace",),
        "fix_mistral_regex": (False,),
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": (False,),
    },
)

TOKENIZER_GGUF = Keys(
    honoured=[f"tokenizer.ggml.{key}" for key in ("model", "pre", "tokens", "token_type", "merges")]
    + [f"tokenizer.ggml.{kind}_token_id" for kind in ("bos", "eos", "eot", "eom", "unknown", "padding")]
    + [f"tokenizer.ggml.{kind}_token_id" for kind in ("seperator", "separator", "cls", "mask")]
    + ["tokenizer.chat_template", "tokenizer.chat_templates"],
    harmless=_by_key(
        {
            "only encode_batch(bos=True, eos=True) adds them": "tokenizer.ggml.add_bos_token "
            "tokenizer.ggml.add_eos_token tokenizer.ggml.add_sep_token",
            "byte-level BPE does not read it": "tokenizer.ggml.scores tokenizer.ggml.token_type_count "
            "tokenizer.ggml.add_space_prefix tokenizer.ggml.remove_extra_whitespaces",
            "the same tokenizer once more": "tokenizer.huggingface.json",
            "for filling gaps in code": " ".join(
                f"tokenizer.ggml.{kind}_token_id"
                for kind in ("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep")
                + ("prefix", "suffix", "middle")
            ),
        }
    ),
    only={
        "tokenizer.ggml.normalizer.lowercase": (False,),
        "tokenizer.ggml.normalizer.strip_accents": (False,),
    },
)


def check_keys(file: str | os.PathLike[str], content: Mapping[str, Any], keys: Keys) -> None:
    """One line about the first key whose value would silently do nothing."""
    for key, value in content.items():
        if value is None or key in keys.honoured or key in keys.harmless:
            continue
        if key not in keys.only:
            raise ValueError(f"{file}: {key} is {value!r:.80}: what it does to a tokenizer is not known here")
        if value not in keys.only[key]:
            allowed = "".join(f": only {each!r} is supported" for each in keys.only[key]) or ": not supported"
            raise ValueError(f"{file}: {key} is {value!r:.80}{allowed}")
