"""GRPO and RLOO on somebody else's task and scorer, against their common start and against more imitation.

Reasoning Gym: Reasoning Environments for Reinforcement Learning with Verifiable Rewards, 2025, arXiv 2505.24760 (task
and scorer); DeepSeekMath, 2024, arXiv 2402.03300 (GRPO); Back to Basics, 2024, arXiv 2402.14740 (RLOO).

    python -m experiments.run --config=configs/post_training/reasoning_gym.py       # about 4 minutes on 2 CPU cores
    python -m experiments.run --config=configs/post_training/reasoning_gym.py:tune  # the search behind ARMS

`spell_backward`, words of 3 to 5 letters, one token per letter. A decoder from scratch (2 layers, 64 wide) imitates
right answers for 200 steps, which leaves it right in a quarter of the words. From there every arm takes 200 optimizer
steps on batches of the same 32 words: `grpo` and `rloo` are told by the package's scorer, in another process and under
a time limit, whether each of 8 attempts per word is exactly right; `sft` is shown the right answers; `start` stays as
it is. No word is in two splits, but "Sun" and "sun" are two words. One split of the words for all seeds.
Read with care: `sft` gets the answers and reinforcement one bit per attempt, so "grpo beats sft" asks for much; with
equal optimizer steps reinforcement has also seen eight times the rows. `accuracy` is greedy, `reward` that of one
sample per word at temperature 1, which is what is optimized.
Other than in the papers: models of some thousand parameters, where Reasoning Gym post-trains 3 billion.
"""

from configs._comparison import benchmark, comparison, grid

BASE = {
    "experiment": "post_training.train_on_text",
    "paper": "Reasoning Gym: Reasoning Environments for RL with Verifiable Rewards (2025, arXiv 2505.24760)",
    "scale": "toy (a decoder 64 wide, words spelt backwards)",
    "minutes": 4.0, "seeds": 5,
    "seeds_by": "map",  # one after the other: a verifier in Python keeps the arms on the host
    "mesh": {"seed": 1, "data": 1, "model": 1},
    "log_every": 10, "eval_every": 50, "checkpoint_every": 50,
    "task": {
        "source": "reasoning_gym",  # or "sums", which needs no package
        "name": "spell_backward",
        "options": {"min_word_len": 3, "max_word_len": 5},
        "size": 6000,  # items drawn; a question that comes up again is dropped
        "split_seed": 2,
        "splits": {"train": 4000, "val": 200, "test": 500},
        "after": "): ",  # the model reads what follows these characters; "" is the whole question
        "answer": "whole",  # what of a completion is the answer: "whole", "number", "last_number"
        "partial_credit": False,  # True pays the package's score as it is
        "seconds": 5.0,  # for one answer
    },
    "model": {
        "source": "characters",  # or "gguf"
        "path": "",
        "shape": {"width": 64, "num_layers": 2, "num_heads": 4, "mlp_width": 128, "context": 16},
        "lora": {"rank": 0, "alpha": 16.0, "targets": ("q", "v")},  # rank 0 trains everything
    },
    "prompt": {"template": "{question}=", "chat": False, "system": ""},
    "pretrain": {"steps": 200, "learning_rate": 3e-3, "max_grad_norm": 1.0},
    "prompts": 32,
    "group_size": 8,
    "max_new_tokens": 6,
    "temperature": 1.0,
    "steps": 200,
}  # fmt: skip
RL = {
    "method": "rl",
    "ratio": "token",
    "aggregation": "token-mean",
    "clip_low": 0.2,
    "clip_high": 0.2,
    "overlong_buffer": 0,
    "overlong_factor": 1.0,
    "dynamic_sampling": False,
    "minibatches": 1,
    "passes": 1,
    "max_grad_norm": 1.0,
}
METHODS = {
    "start": {"method": "none"},
    "sft": {"method": "sft", "max_grad_norm": 1.0},
    "grpo": RL | {"advantage": "grpo"},
    "rloo": RL | {"advantage": "rloo"},
}
ARMS = {
    "start": {},
    "sft": {"learning_rate": 3e-3},
    "grpo": {"learning_rate": 3e-4},
    "rloo": {"learning_rate": 6e-4},
}
RATES = grid({"learning_rate": (3e-4, 6e-4, 1e-3)})
GRID = {"sft": grid({"learning_rate": (3e-4, 1e-3, 3e-3)}), "grpo": RATES, "rloo": RATES}
EDGES = {"sft": "3e-3 is the highest: not widened", "grpo": "3e-4 is the lowest: not widened"}
CLAIMS = (benchmark("grpo", "start"), benchmark("rloo", "start"), benchmark("grpo", "sft"))

get_config, VARIANTS = comparison(
    BASE, ARMS, GRID, CLAIMS, metric="test/accuracy", methods=METHODS,
    smoke={"log_every": 2, "eval_every": 4, "checkpoint_every": 4, "task.size": 60,
           "task.splits": {"train": 32, "val": 6, "test": 6}, "model.shape.width": 8, "model.shape.num_layers": 1,
           "model.shape.num_heads": 2, "model.shape.mlp_width": 8, "pretrain.steps": 4, "steps": 4, "prompts": 2,
           "group_size": 4},
    tune={"minutes": 7.0, "seeds": 2}, long=("steps",),
)  # fmt: skip
