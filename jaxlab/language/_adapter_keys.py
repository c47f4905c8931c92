"""What becomes of every key of PEFT's `adapter_config.json`, as PEFT 0.21 writes it for LoRA."""

from collections.abc import Mapping

from jaxlab.language._key_rules import Rule, harmless, honoured, only

ADAPTER_KEYS: Mapping[str, Rule] = {
    "peft_type": honoured("must be LORA"),
    "r": honoured("the rank, where `rank_pattern` says no other"),
    "lora_alpha": honoured("`alpha`, where `alpha_pattern` says no other"),
    "rank_pattern": honoured("ranks by module"),
    "alpha_pattern": honoured("alphas by module; a module's own alpha goes into its `b`"),
    "use_rslora": honoured("alpha / sqrt(rank) in the place of alpha / rank: `alpha` is larger, or `b`"),
    "target_modules": honoured("modules with adapters, those that have tensors; absent: q_proj and v_proj"),
    "exclude_modules": honoured("modules without adapters"),
    "layers_to_transform": honoured("layers with adapters"),
    "layers_pattern": honoured("must be layers, the name of the list of layers"),
    "init_lora_weights": only(
        True, False, "gaussian", "eva", "orthogonal", "mica",
        text="a start (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) that changes the weights below the adapters",
    ),
    "bias": only("none", text="trained biases"),
    "modules_to_save": only([], text="whole modules beside the adapters"),
    "use_dora": only(False, text="DoRA"),
    "use_qalora": only(False, text="QA-LoRA"),
    "use_bdlora": only(text="block-diagonal adapters"),
    "lora_bias": only(False, text="a bias in the adapter"),
    "alora_invocation_tokens": only(text="adapters that act after some tokens"),
    "arrow_config": only(text="routing between adapters"),
    "kasa_config": only(text="KaSA"),
    "velora_config": only(text="VeLoRA"),
    "monteclora_config": only(text="MonteCLoRA"),
    "layer_replication": only([], text="layers that occur several times"),
    "target_parameters": only([], text="adapters of parameters"),
    "trainable_token_indices": only([], {}, text="new embeddings of some tokens"),
    "megatron_config": only(text="parallel layers of Megatron"),
    "loftq_config": only({}, text="LoftQ"),
    "corda_config": only(text="CorDA"),
    "lora_ga_config": only(text="LoRA-GA"),
    **harmless("for PEFT's `Conv1D` only; the modules here are linear", ("fan_in_fan_out",)),
    **harmless("acts in training only", ("lora_dropout", "eva_config", "inference_mode", "ensure_weight_tying")),
    **harmless("read with `use_qalora` only", ("qalora_group_size",)),
    **harmless("read with `megatron_config` only", ("megatron_core",)),
    **harmless("another way to compute the same", ("runtime_config",)),
    **harmless(
        "a note on where the adapters come from",
        ("base_model_name_or_path", "revision", "task_type", "auto_mapping", "peft_version"),
    ),
}  # fmt: skip
