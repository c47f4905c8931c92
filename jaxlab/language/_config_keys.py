"""What becomes of every key of `config.json` and `generation_config.json`, as transformers 4 and 5 read them."""

from collections.abc import Mapping
from typing import Any

from jaxlab.language._key_rules import HARMLESS, Rule, harmless, honoured, only

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}

# What transformers takes where `config.json` says nothing.
_DEFAULTS = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0, "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {
        **_DEFAULTS, "vocab_size": 32000, "intermediate_size": 11008, "num_key_value_heads": None,
        "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2,
    },
    "qwen2": _DEFAULTS,
    "qwen3": {**_DEFAULTS, "head_dim": 128},
}  # fmt: skip

# How transformers' `generate` draws tokens. `sample` does what its own arguments say.
_SAMPLING = (
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "early_stopping", "max_time", "do_sample",
    "num_beams", "num_beam_groups", "use_mtp", "cache_implementation", "cache_config", "max_cache_len", "temperature",
    "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty",
    "encoder_repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "renormalize_logits", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "sequence_bias",
    "token_healing", "guidance_scale", "watermarking_config", "num_return_sequences", "output_scores",
    "output_logits", "return_dict_in_generate", "diversity_penalty", "penalty_alpha", "dola_layers", "low_memory",
    "constraints", "force_words_ids", "prefill_chunk_size", "is_assistant", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit",
    "assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight", "prompt_lookup_num_tokens",
    "max_matching_ngram_size", "speculation_type", "compile_config", "disable_compile",
    "continuous_batching_config", "max_window_size",
)  # fmt: skip
_SAYS_SAMPLE = "how transformers samples: say it to `sample`"
_OUTPUTS = (
    "return_dict",
    "use_return_dict",
    "output_attentions",
    "output_hidden_states",
    "tie_last_hidden_states",
)
_NOTES = (
    "transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "_from_model_config",
    "transformers.js_config", "unsloth_version", "unsloth_fixed", "unsloth_optimized", "is_llama_config",
    "model_name", "paddlenlp_version", "mlx_version", "trust_remote_code",
)  # fmt: skip
_ENDS = honoured("ends of a sequence, one or several: `end_ids`, and kept at saving")
_TOKENS = "an id of the tokenizer, kept at saving"

_COMMON: dict[str, Rule] = {
    "architectures": honoured("one of " + ", ".join(ARCHITECTURES)),
    "vocab_size": honoured("`vocab_size`"),
    "hidden_size": honoured("`width`"),
    "intermediate_size": honoured("`mlp_width`"),
    "num_hidden_layers": honoured("`num_layers`"),
    "num_attention_heads": honoured("`num_heads`"),
    "num_key_value_heads": honoured("`num_kv_heads`"),
    "head_dim": honoured("`head_dim`"),
    "max_position_embeddings": honoured(
        "`context`; times the factor of linear or dynamic, at least the factor times the original of YaRN scaling"
    ),
    "rms_norm_eps": honoured("`norm_eps`"),
    "rope_theta": honoured("`rope_base`, unless `rope_scaling` or `rope_parameters` says it"),
    "rope_scaling": honoured("`rope_scaling`, see below; before `rope_parameters` if both are there"),
    "rope_parameters": honoured("`rope_base` and `rope_scaling`, see below"),
    "tie_word_embeddings": honoured("`tied`, true or false; an `lm_head` of another content is used"),
    "eos_token_id": _ENDS,
    "hidden_act": only("silu", "swish", text="other activations"),
    "attention_bias": only(False, text="biases on q, k, v and o"),
    "mlp_bias": only(False, text="biases in the MLP"),
    "is_causal": only(True, text="attention in both directions"),
    "use_sliding_window": only(False, text="attention to a window"),
    "use_mrope": only(False, text="rotary positions in several dimensions"),
    "rope_interleaved": only(False, text="neighbouring channels that turn together"),
    "partial_rotary_factor": only(1.0, text="channels without position"),
    "original_max_position_embeddings": only(text="a second place for what `rope_scaling` says"),
    "quantization_config": only(text="quantised weights"),
    "auto_map": only(text="code in the folder that replaces the architecture's; it is never run"),
    "is_encoder_decoder": only(False, text="an encoder"),
    "add_cross_attention": only(False, text="attention to an encoder"),
    "cross_attention_hidden_size": only(text="attention to an encoder"),
    "tie_encoder_decoder": only(False, text="an encoder"),
    "pruned_heads": only({}, text="heads left out"),
    **harmless(_TOKENS, ("bos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id")),
    **harmless("for the tokenizer", ("tokenizer_class", "prefix", "model_max_length", "padding_side")),
    **harmless("parameters have the type that is asked for: `dtype`", ("dtype", "torch_dtype", "use_bfloat16")),
    **harmless(
        "acts in training only",
        ("attention_dropout", "attention_probs_dropout_prob", "hidden_dropout", "hidden_dropout_prob", "attn_pdrop",
         "embd_pdrop", "resid_pdrop", "initializer_range", "gradient_checkpointing", "tf_legacy_loss",
         "loss_type", "neftune_noise_alpha"),
    ),
    **harmless(
        "another way to compute the same",
        ("use_cache", "pretraining_tp", "chunk_size_feed_forward", "attn_implementation", "_attn_implementation",
         "_attn_implementation_internal", "_attn_implementation_autoset", "_experts_implementation",
         "_flash_attn_2_enabled", "use_flash_attention", "use_sdpa", "torchscript"),
    ),
    **harmless("the form of transformers' outputs", _OUTPUTS),
    **harmless(
        "for heads that a language model does not have",
        ("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
         "classifier_dropout"),
    ),
    **harmless("these models are decoders", ("is_decoder",)),
    **harmless("transformers does not read it: `max_position_embeddings` counts", ("max_sequence_length",)),
    **harmless("a note on where the file comes from", _NOTES),
    **harmless(_SAYS_SAMPLE, _SAMPLING),
}  # fmt: skip

_WINDOW = "read with `use_sliding_window` only"
_LAYER_TYPES = honoured("each must be 'full_attention'")


def _keys_of(kind: str) -> dict[str, Rule]:
    own = {"model_type": only(kind, text="another architecture's configuration"), "layer_types": _LAYER_TYPES}
    window = only(text="attention to a window") if kind == "llama" else Rule(HARMLESS, _WINDOW)
    return {**_COMMON, **own, **harmless(_WINDOW, ("max_window_layers",)), "sliding_window": window}


# By `model_type`: every key of `config.json`.
CONFIG_KEYS: Mapping[str, Mapping[str, Rule]] = {kind: _keys_of(kind) for kind in ARCHITECTURES.values()}

# By `rope_type`: every key of `rope_scaling` and `rope_parameters`.
_ROPE: dict[str, Rule] = {
    "rope_type": honoured("`kind`; default, linear, dynamic, yarn, llama3 or longrope"),
    "type": honoured("the older name of `rope_type`"),
    "rope_theta": honoured("`rope_base`"),
    "partial_rotary_factor": only(1.0, text="channels without position"),
    **harmless("a note on how the model was trained", ("finetuned",)),
}
_FACTOR = {"factor": honoured("`factor`")}
_ORIGINAL = {
    "original_max_position_embeddings": honoured("`original_context`; absent: `max_position_embeddings`")
}
_ATTENTION = {"attention_factor": honoured("`attention_factor`")}
_UNREAD = harmless("not read for this `rope_type`", ("original_max_position_embeddings",))
ROPE_KEYS: Mapping[str, Mapping[str, Rule]] = {
    "default": {**_ROPE, **_UNREAD, "factor": only(1.0, text="scaling without a kind")},
    "linear": {**_ROPE, **_FACTOR, **_UNREAD},
    "dynamic": {**_ROPE, **_FACTOR},
    "yarn": {
        **_ROPE,
        **_FACTOR,
        **_ORIGINAL,
        **_ATTENTION,
        "beta_fast": honoured("`beta_fast`"),
        "beta_slow": honoured("`beta_slow`"),
        "truncate": honoured("`truncate`"),
        "mscale": honoured("`attention_factor`, together with `mscale_all_dim`"),
        "mscale_all_dim": honoured("`attention_factor`, together with `mscale`"),
        "attn_factor": only(1.0, text="a name of `attention_factor` that transformers does not read"),
        "extrapolation_factor": only(1.0, text="a weaker ramp"),
    },
    "llama3": {
        **_ROPE,
        **_FACTOR,
        **_ORIGINAL,
        "low_freq_factor": honoured("`low_frequency_factor`"),
        "high_freq_factor": honoured("`high_frequency_factor`"),
    },
    "longrope": {
        **_ROPE,
        **_FACTOR,
        **_ORIGINAL,
        **_ATTENTION,
        "short_factor": honoured("`short_factors`"),
        "long_factor": honoured("`long_factors`"),
    },
}

# Every key of `generation_config.json`.
GENERATION_KEYS: Mapping[str, Rule] = {
    "eos_token_id": _ENDS,
    "stop_strings": only(text="ends that are texts"),
    **harmless(_TOKENS, ("bos_token_id", "pad_token_id", "decoder_start_token_id")),
    **harmless("another way to compute the same", ("use_cache",)),
    **harmless("the form of transformers' outputs", _OUTPUTS),
    **harmless("a note on where the file comes from", _NOTES),
    **harmless(_SAYS_SAMPLE, _SAMPLING),
}
