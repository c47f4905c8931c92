"""What becomes of every key of a GGUF file's metadata, as llama.cpp reads it for llama, qwen2 and qwen3."""

from collections.abc import Mapping

from jaxlab.language._key_rules import Rule, harmless, honoured, only

# Which channels turn together, by architecture: the conversion to GGUF permutes Llama's queries and keys only.
PAIRS = {"llama": "interleaved", "qwen2": "half", "qwen3": "half"}

# Keys that begin with the architecture's name, and here with {arch}.
_ARCHITECTURE: dict[str, Rule] = {
    "vocab_size": honoured("must be the number of rows of `token_embd.weight`"),
    "context_length": honoured("`context`"),
    "embedding_length": honoured("`width`"),
    "block_count": honoured("`num_layers`"),
    "feed_forward_length": honoured("`mlp_width`"),
    "attention.head_count": honoured("`num_heads`"),
    "attention.head_count_kv": honoured("`num_kv_heads`; absent: as many as heads"),
    "attention.key_length": honoured("`head_dim`; absent: width / heads"),
    "attention.value_length": honoured("must be `head_dim`"),
    "attention.layer_norm_rms_epsilon": honoured("`norm_eps`"),
    "rope.dimension_count": honoured("must be `head_dim`"),
    "rope.freq_base": honoured("`rope_base`; absent: 10000"),
    "rope.scaling.type": honoured("none, linear or yarn; absent: linear"),
    "rope.scaling.factor": honoured("`factor` of `rope_scaling`"),
    "rope.scale_linear": honoured("`factor`, where `rope.scaling.factor` is absent"),
    "rope.scaling.attn_factor": honoured("multiplies cosines and sines"),
    "rope.scaling.original_context_length": honoured("`original_context` of YaRN; absent: `context`"),
    "rope.scaling.yarn_attn_factor": only(
        text="a number that the converter writes and llama.cpp does not read here"
    ),
    "rope.scaling.yarn_ext_factor": only(1.0, -1.0, text="a weaker ramp"),
    "rope.scaling.yarn_beta_fast": only(32.0, text="a number that llama.cpp does not read here"),
    "rope.scaling.yarn_beta_slow": only(1.0, text="a number that llama.cpp does not read here"),
    "rope.scaling.yarn_log_multiplier": only(0.0, text="a number that llama.cpp does not read here"),
    "rope.scaling.alpha": only(0.0, text="another base"),
    "attention.causal": only(True, text="attention in both directions"),
    "attention.sliding_window": only(0, text="attention to a window"),
    "attention.scale": only(0.0, text="another scale of the scores"),
    "attention.clamp_kqv": only(0.0, text="clipped queries, keys and values"),
    "attention.max_alibi_bias": only(0.0, text="biases instead of rotary positions"),
    "attn_logit_softcapping": only(0.0, text="softcapped scores"),
    "final_logit_softcapping": only(0.0, text="softcapped logits"),
    "logit_scale": only(0.0, 1.0, text="scaled logits"),
    "residual_scale": only(0.0, 1.0, text="scaled residuals"),
    "embedding_scale": only(0.0, 1.0, text="scaled embeddings"),
    "use_parallel_residual": only(False, text="attention and MLP side by side"),
    "expert_count": only(0, text="experts"),
    "expert_used_count": only(0, text="experts"),
    "pooling_type": only(0, text="one vector for a whole text"),
    **harmless("a note on how the model was trained", ("rope.scaling.finetuned",)),
    **harmless("the order of channels follows from the architecture", ("tensor_data_layout",)),
}

_FILE: dict[str, Rule] = {
    "general.architecture": honoured("one of " + ", ".join(PAIRS)),
    "general.alignment": honoured("where tensors begin"),
    "general.type": only("model", text="a file that is no model"),
    "general.quantization_version": only(2, text="other block formats"),
    "split.count": only(0, 1, text="a model in several files"),
    "split.no": only(0, text="a model in several files"),
    "tokenizer.ggml.eos_token_id": honoured("an end of a sequence: `end_ids`"),
    "tokenizer.ggml.eot_token_id": honoured("an end of a sequence: `end_ids`"),
    "tokenizer.ggml.eom_token_id": honoured("an end of a sequence: `end_ids`"),
    "tokenizer.chat_template": honoured("`gguf_chat_template`, and `Tokenizer.chat`"),
    **harmless("counted by the header", ("split.tensors.count",)),
    **harmless("describes the file; each tensor says its own type", ("general.*",)),
    **harmless("for the tokenizer: `load_tokenizer` reads it", ("tokenizer.*",)),
    **harmless("a note on how the file was quantised", ("quantize.*", "imatrix.*", "mradermacher.*")),
}

# By architecture: every key.
GGUF_KEYS: Mapping[str, Mapping[str, Rule]] = {
    kind: {**_FILE, **{f"{kind}.{key}": rule for key, rule in _ARCHITECTURE.items()}} for kind in PAIRS
}
