"""TRL's own code on plain arrays, without a model or a sampler.

`GRPOTrainer._compute_loss` is called on a trainer that was never initialised: its settings are the defaults of
`GRPOConfig` and what a test says, its log-probabilities are given. What TRL computes in the middle of a long method,
importance weights and advantages, is that one statement of its source, executed.
"""

import ast
import collections
import dataclasses
import inspect
import textwrap
import types

import numpy as np
import pytest


def _module():
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("trl", reason="TRL is not installed")
    return pytest.importorskip("trl.trainer.grpo_trainer", reason="TRL is not installed")


def _trainer(module, settings):
    fields = dataclasses.fields(module.GRPOConfig)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    unknown = set(settings) - set(defaults)
    assert not unknown, unknown
    args = types.SimpleNamespace(**defaults | {"steps_per_generation": 1} | settings)
    one = types.SimpleNamespace(
        num_processes=1,
        sync_gradients=True,
        device="cpu",
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
        pad_across_processes=lambda x, dim, pad_index: x,
    )
    trainer = object.__new__(module.GRPOTrainer)
    trainer.__dict__.update(vars(args))
    trainer.__dict__.update(
        args=args,
        accelerator=one,
        model=types.SimpleNamespace(training=True),
        epsilon_low=args.epsilon,
        epsilon_high=args.epsilon if args.epsilon_high is None else args.epsilon_high,
        current_gradient_accumulation_steps=1,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=args.entropy_coef != 0.0 or args.use_adaptive_entropy,
        _last_world_entropy=float("inf"),
        _entropy_window_stats=None,
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
    )
    return trainer


def _tensor(x):
    import torch

    x = np.asarray(x)
    return torch.tensor(x.astype(np.float32) if x.dtype.kind == "f" else x.astype(np.int64))


def trl_loss(log_probs, advantage, mask, *, settings, entropy=None, state=None, **given):
    """Value, gradient with respect to `log_probs`, and the trainer after it.

    `state` is what the trainer remembers of earlier steps, `given` are further inputs by TRL's names.
    """
    import torch

    trainer = _trainer(_module(), {"max_completion_length": np.shape(log_probs)[1], **settings})
    trainer.__dict__.update(state or {})
    mask = _tensor(mask)
    ids = torch.zeros_like(mask)
    inputs = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": mask,
        "advantages": _tensor(advantage), "num_items_in_batch": mask.sum(),
        **{name: _tensor(x) for name, x in given.items()},
    }  # fmt: skip
    leaf = _tensor(log_probs).requires_grad_()
    entropy = np.zeros(np.shape(log_probs)) if entropy is None else entropy
    trainer._get_per_token_logps_and_entropies = lambda *args, **kwargs: (leaf, _tensor(entropy), None)
    value = trainer._compute_loss(trainer.model, inputs)
    value.backward()
    return value.item(), leaf.grad.numpy(), trainer


def _execute(method, test, names):
    """The first statement `if test:` of a method of TRL's, with these local names; what they are after it."""
    module = _module()
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(module.GRPOTrainer, method))))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == test]
    statement = ast.Module([min(found, key=lambda node: node.lineno)], [])
    scope = {**vars(module), **names}
    exec(compile(statement, method, "exec"), scope)
    return scope


def trl_importance_weight(log_probs, sampler_log_probs, mask, **settings):
    """`[B, T]` or `[B, 1]`, by `vllm_importance_sampling_mode` and its bounds."""
    trainer = _trainer(_module(), {"use_vllm": True, **settings})
    scope = _execute(
        "_generate_and_score_completions",
        "self.use_vllm and self.vllm_importance_sampling_correction",
        {
            "self": trainer,
            "old_per_token_logps": _tensor(log_probs),
            "sampling_per_token_logps": _tensor(sampler_log_probs),
            "completion_mask": _tensor(mask),
            "tool_mask": None,
        },
    )
    return scope["vllm_importance_sampling_ratio"].numpy()


def trl_advantage(rewards, group_size, weights=None, **settings):
    """`[B]`, of rewards `[B, K]` whose rows of one prompt stand side by side."""
    import torch

    trainer = _trainer(_module(), settings)
    rewards = _tensor(rewards)
    trainer.reward_weights = torch.ones(rewards.shape[1]) if weights is None else _tensor(weights)
    trainer.reward_funcs = [None] * rewards.shape[1]
    scope = _execute(
        "_generate_and_score_completions",
        "self.multi_objective_aggregation == 'sum_then_normalize'",
        {
            "self": trainer,
            "rewards_per_func": rewards,
            "unscorable_mask": torch.isnan(rewards).all(dim=1),
            "num_generations": group_size,
            "device": "cpu",
        },
    )
    return scope["advantages"].numpy()
