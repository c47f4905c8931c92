"""What becomes of every key of `tokenizer_config.json`, and of those of GGUF that are the tokenizer's."""

from collections.abc import Mapping

from jaxlab.language._key_rules import Rule, harmless, honoured, only

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKEN = honoured("a special token, and what templates know by that name")
_ID = honoured("must be the id of that token")
_GIVES = "`encode` adds nothing: ask `encode_batch` for `bos=True`, `eos=True`"

# `special_tokens_map.json` has the same keys. Other keys that end in `_token` name tokens of one model, such as
# `image_token`, and are honoured like those here.
TOKENIZER_KEYS: Mapping[str, Rule] = {
    **dict.fromkeys(SPECIAL_TOKENS, _TOKEN),
    **dict.fromkeys([f"{name}_id" for name in SPECIAL_TOKENS], _ID),
    "additional_special_tokens": honoured("special tokens without a name"),
    "extra_special_tokens": honoured("a list of special tokens, or special tokens by name"),
    "model_specific_special_tokens": honoured("special tokens by name"),
    "added_tokens_decoder": honoured("tokens beside those of `tokenizer.json`; each must get the id it claims"),
    "chat_template": honoured("`Tokenizer.chat`, unless there are template files; one, or several by name"),
    "add_prefix_space": honoured("must be what `tokenizer.json` says"),
    "clean_up_tokenization_spaces": honoured("nothing for BPE, as in transformers; for others only false"),
    "auto_map": only(text="a tokenizer that is code in the folder; it is never run"),
    "fast_tokenizer_files": only(text="another file than `tokenizer.json`"),
    "split_special_tokens": only(False, text="special tokens spelt like any text"),
    "do_lower_case": only(False, text="lower case, beside what `tokenizer.json` does"),
    "strip_accents": only(False, text="letters without accents, beside what `tokenizer.json` does"),
    "errors": only("replace", text="another treatment of bytes that are no text"),
    "fix_mistral_regex": only(False, text="another cut than that of `tokenizer.json`"),
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": only(
        False, text="spaces before signs taken away in decoding"
    ),
    **harmless(_GIVES, ("add_bos_token", "add_eos_token")),
    **harmless(
        "`tokenizer.json` holds the outcome",
        ("tokenizer_class", "tokenizer_type", "legacy", "from_slow", "use_fast", "backend", "sp_model_kwargs",
         "spaces_between_special_tokens", "trim_offsets", "normalization", "keep_accents", "never_split",
         "do_basic_tokenize", "tokenize_chinese_chars", "vocab_file", "merges_file", "tokenizer_file",
         "special_tokens_map_file", "init_inputs", "vocab_size"),
    ),
    **harmless(
        "every call of `encode_batch` says it",
        ("padding_side", "padding", "pad_to_multiple_of", "model_input_names", "return_token_type_ids",
         "return_tensors"),
    ),
    **harmless(
        "nothing is cut: a text that is too long is an error",
        ("model_max_length", "max_len", "max_length", "stride", "truncation", "truncation_side",
         "truncation_strategy", "max_model_input_sizes"),
    ),
    **harmless(
        "there are no token types and no boxes",
        ("pad_token_type_id", "token_type_ids_pattern", "cls_token_box", "sep_token_box", "pad_token_box"),
    ),
    **harmless("for readers of answers", ("response_schema", "response_template", "chat_control_tokens")),
    **harmless("a template is used as it is, and there is no default one", ("use_default_system_prompt",)),
    **harmless(
        "a note on where the file comes from",
        ("name_or_path", "_name_or_path", "_commit_hash", "_from_auto", "processor_class", "is_local",
         "local_files_only", "files_loaded", "cache_dir", "revision", "subfolder", "device_map", "model_type",
         "trust_remote_code", "verbose", "use_auth_token", "tokenizer_version", "transformers_version"),
    ),
}  # fmt: skip

_GGML = "tokenizer.ggml."
GGUF_TOKENIZER_KEYS: Mapping[str, Rule] = {
    f"{_GGML}model": honoured("must be gpt2, byte-level BPE"),
    f"{_GGML}pre": honoured("how text is cut: smollm, gpt-2, qwen2, llama-bpe or default; absent: default"),
    f"{_GGML}tokens": honoured("the vocabulary"),
    f"{_GGML}token_type": honoured("which tokens are special, and which are never cut"),
    f"{_GGML}merges": honoured("the merges of BPE"),
    **{f"{_GGML}{kind}_token_id": _TOKEN for kind in ("bos", "unknown", "seperator", "separator", "cls", "mask")},
    f"{_GGML}padding_token_id": honoured("fills rows; absent: the end of a sequence"),
    **{f"{_GGML}{kind}_token_id": honoured("an end of a sequence") for kind in ("eos", "eot", "eom")},
    "tokenizer.chat_template": honoured("`Tokenizer.chat`"),
    "tokenizer.chat_template.*": honoured("`Tokenizer.chat`, by name"),
    "tokenizer.chat_templates": honoured("the names of the chat templates"),
    f"{_GGML}normalizer.lowercase": only(False, text="lower case"),
    f"{_GGML}normalizer.strip_accents": only(False, text="letters without accents"),
    **harmless(_GIVES, [f"{_GGML}add_{kind}_token" for kind in ("bos", "eos", "sep")]),
    **harmless(
        "byte-level BPE does not read it",
        [f"{_GGML}{key}" for key in ("scores", "token_type_count", "add_space_prefix", "remove_extra_whitespaces")],
    ),
    **harmless("the same tokenizer once more", ("tokenizer.huggingface.json",)),
    **harmless(
        "for filling gaps in code",
        [f"{_GGML}fim_{kind}_token_id" for kind in ("pre", "suf", "mid", "pad", "rep", "sep")]
        + [f"{_GGML}{kind}_token_id" for kind in ("prefix", "suffix", "middle")],
    ),
}  # fmt: skip
