"""Folders of transformers and PEFT in many variants: loaded, sampled from, saved, and loaded there again."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import (
    attach_lora,
    end_ids,
    load_hugging_face,
    load_lora,
    sample,
    save_hugging_face,
    save_lora,
)
from tests.language.hugging_face import KINDS, logits_of, tiny, transformers
from tests.language.test_lora import VARIANTS as ADAPTERS
from tests.language.test_lora import noisy_peft
from tests.language.test_rope_scaling import KINDS as SCALINGS
from tests.language.test_rope_scaling import LONG

pytestmark = pytest.mark.wide

EVERYTHING = np.ones_like(LONG)
NOTES = {
    "_name_or_path": "x", "attention_dropout": 0.5, "initializer_range": 0.9, "pretraining_tp": 2, "use_cache": False,
    "max_window_layers": 1, "torch_dtype": "float16", "num_labels": 3, "temperature": 0.2, "chunk_size_feed_forward": 4,
    "is_decoder": True, "unsloth_version": "1", "classifier_dropout": 0.3, "hidden_act": "swish", "pad_token_id": 3,
    "layer_types": None, "use_mrope": False, "loss_type": "ForCausalLM", "tokenizer_class": "LlamaTokenizer",
}  # fmt: skip
OLDER = {
    "rope_parameters": None, "rope_theta": 300, "rope_scaling": {"type": "linear", "factor": 2}, "dtype": None,
    "torch_dtype": "float32", "architectures": None, "transformers_version": "4.31.0",
}  # fmt: skip


def rope(kind):
    parameters, changes = SCALINGS[kind]
    return {"rope_parameters": parameters, **changes}


# What is asked of transformers, what is then written into config.json, and options of its `save_pretrained`.
FOLDERS = {
    "tied": ({"tied": True}, {}, {}),
    "in bfloat16 and shards": ({}, {"dtype": "bfloat16"}, {"max_shard_size": "4KB"}),
    "linear": (rope("linear"), {}, {}),
    "dynamic": (rope("dynamic"), {}, {}),
    "yarn": (rope("yarn with everything"), {}, {}),
    "llama3": (rope("llama3"), {}, {}),
    "longrope": (rope("longrope") | {"head_dim": 4}, {}, {}),
    "wide heads, one for keys": ({"head_dim": 12, "num_key_value_heads": 1}, {}, {}),
    "with notes": ({}, NOTES, {}),
    "as transformers 4 wrote it": ({}, OLDER, {}),
    "tied in name only": ({}, {"tie_word_embeddings": True}, {}),
}


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params):
    return model.logits(params, model.apply(params, LONG))


@functools.partial(jax.jit, static_argnums=(0, 2))
def greedy(model, params, ends):
    prompts, mask = LONG[:, :16], EVERYTHING[:, :16]
    out = sample(
        model, params, prompts, mask, jax.random.key(0), max_new_tokens=14, eos=ends, temperature=0.0
    )
    return jnp.where(out.mask, out.tokens, -1)


def write(kind, variant, folder):
    """A folder of the variant, with two ends, and what transformers makes of it."""
    asked, changes, options = FOLDERS[variant]
    model = tiny(kind, seed=7, **asked)
    model.to(model.dtype if "shard" not in variant else __import__("torch").bfloat16)
    model.save_pretrained(folder, **options)
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 11], "top_p": 0.9}))
    return read(folder)


def read(folder):
    return transformers().AutoModelForCausalLM.from_pretrained(folder).float().eval()


def their_greedy(model):
    import torch

    prompts = torch.tensor(LONG[:, :16], dtype=torch.long)
    everything = torch.ones_like(prompts)
    out = model.generate(
        prompts, attention_mask=everything, max_new_tokens=14, do_sample=False, pad_token_id=0
    )
    rows = np.full((2, 14), -1)
    rows[:, : out.shape[1] - 16] = out[:, 16:].numpy()
    before = np.cumsum(np.isin(rows, model.generation_config.eos_token_id), axis=1) - np.isin(
        rows, model.generation_config.eos_token_id
    )
    return np.where(before > 0, -1, rows)


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", FOLDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, variant, tmp_path):
    theirs = write(kind, variant, tmp_path)
    expected = logits_of(theirs, LONG, EVERYTHING)
    model, params = load_hugging_face(tmp_path)
    assert_close(logits(model, params), expected)
    np.testing.assert_array_equal(greedy(model, params, end_ids(tmp_path)), their_greedy(theirs))

    for target, source in ((tmp_path / "elsewhere", tmp_path), (tmp_path, None)):
        save_hugging_face(target, model, params, source=source)
        assert load_hugging_face(target)[0] == model
        assert end_ids(target) == end_ids(tmp_path)
        again = read(target)
        assert_close(logits_of(again, LONG, EVERYTHING), expected)
        assert again.generation_config.eos_token_id == [5, 11]
        assert again.generation_config.top_p == 0.9

    names = list(ADAPTERS)
    changes, targets = ADAPTERS[names[(list(FOLDERS).index(variant) + KINDS.index(kind)) % len(names)]]
    tuned = noisy_peft(theirs, **changes)
    expected = logits_of(tuned, LONG, EVERYTHING)
    tuned.save_pretrained(tmp_path / "adapters")
    adapters, alpha = load_lora(tmp_path / "adapters", model)
    assert set().union(*adapters) == targets
    assert_close(logits(model, attach_lora(params, adapters, alpha=alpha)), expected)
    save_lora(tmp_path / "ours", model, adapters, alpha=alpha)
    tuned = pytest.importorskip("peft").PeftModel.from_pretrained(read(tmp_path), tmp_path / "ours")
    assert_close(logits_of(tuned, LONG, EVERYTHING), expected)
