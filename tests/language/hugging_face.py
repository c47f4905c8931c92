"""Tiny models of transformers with parameters that are nowhere 0 or 1, to compare with."""

import functools

import numpy as np
import pytest

SIZES = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
}  # fmt: skip
KINDS = ("llama", "qwen2", "qwen3")
TOKENS = np.random.default_rng(0).integers(0, 32, (2, 9)).astype(np.int32)
MASK = np.array([[0, 0, 0, 1, 1, 1, 1, 1, 1], [1] * 9], np.int32)


@functools.cache
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed")


def tiny(kind, *, tied=False, seed=0, **changes):
    """A model of transformers, float32, with rounded random parameters; `changes` are of its configuration."""
    library = transformers()
    import torch

    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind]
    own = {"head_dim": 8} if kind == "qwen3" else {}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}
    config = getattr(library, f"{name}Config")(**SIZES | own | rope | {"tie_word_embeddings": tied} | changes)
    model = getattr(library, f"{name}ForCausalLM")(config).float().eval()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        mean, scale = (1.0, 0.3) if parameter.ndim == 1 else (0.0, 0.3)
        noise = torch.randn(parameter.shape).mul(scale).add(mean)
        parameter.data = noise.bfloat16().float()  # bfloat16 files then hold the same model
    return model


def logits_of(model, tokens=TOKENS, mask=MASK):
    """What transformers computes, with positions counted from the first token that is not padding."""
    import torch

    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    with torch.no_grad():
        out = model(
            input_ids=torch.tensor(tokens, dtype=torch.long),
            attention_mask=torch.tensor(mask, dtype=torch.long),
            position_ids=torch.tensor(positions, dtype=torch.long),
        )
    return out.logits.float().numpy()
