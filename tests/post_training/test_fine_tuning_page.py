"""docs/fine_tuning.md from top to bottom: a tiny random model in its folders, and transformers reads what it leaves."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import jsd, masked_mean
from jaxlab.language import Decoder, attach_lora, init_lora, load_hugging_face, save_hugging_face
from tests.language.test_tokenizer import CHAT, write_folder

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "fine_tuning.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
ENDS = (2, 0)
pytestmark = pytest.mark.wide


def write_model(folder, seed):
    """A tiny random model whose generation configuration has more ends than its tokenizer."""
    model = Decoder(vocab_size=300, width=16, num_layers=1, num_heads=2, mlp_width=16, context=64)
    folder.mkdir()
    write_folder(folder, {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "chat_template": CHAT})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(ENDS)}))
    save_hugging_face(folder, model, model.init(jax.random.key(seed)), eos=ENDS)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The names that the page has at its end, but for the block on transformers, which comes back beside them."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    folder = tmp_path_factory.mktemp("page")
    write_model(folder / "model", seed=0)
    write_model(folder / "teacher", seed=1)
    (folder / "runs").mkdir()
    names = {"__name__": "__main__", "folder_of_test": folder}
    (others,) = [block for block in BLOCKS if "from transformers" in block]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            if block is not others:
                exec(compile(block, str(PAGE), "exec"), names)
    return names, others


def rows_of(script, name):
    lines = (script[0]["folder_of_test"] / "runs" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_job_logs_numbers_and_samples(script):
    numbers, samples = rows_of(script, "metrics.jsonl"), rows_of(script, "samples.jsonl")
    assert [(row["arm"], row["step"]) for row in numbers] == [
        (arm, step) for arm in ("grpo", "sft", "gkd") for step in (5, 10)
    ]
    assert {row["arm"]: row["step"] for row in samples} == {"grpo": 10, "sft": 10, "gkd": 10}
    assert [row["question"] for row in samples] == ["0 + 0 =", "0 + 1 =", "0 + 2 ="] * 3
    assert all(np.isfinite(row["train/loss"]).all() for row in numbers)
    assert all(row["train/verifier_raised"] == [0] for row in numbers[:2])
    first, last = (row["train/loss"][0] for row in numbers if row["arm"] == "sft")
    assert last < first


def test_adapters_alone_are_trained(script):
    names, _ = script
    of_gkd = jax.tree.map(lambda x: x[0], names["done"].state.params)
    for adapters in (names["adapters"], of_gkd):
        assert adapters[0]["gate"]["a"].shape == (16, 8)
        assert np.abs(adapters[0]["gate"]["b"]).max() > 1e-3  # where it starts at 0
    _, again = load_hugging_face(names["folder_of_test"] / "model")
    jax.tree.map(np.testing.assert_array_equal, again, names["base"])


def test_what_is_saved_has_tokenizer_and_ends(script):
    names, _ = script
    saved = names["folder_of_test"] / "tuned"
    for file in ("config.json", "generation_config.json"):
        assert json.loads((saved / file).read_text())["eos_token_id"] == list(ENDS)
    before = names["folder_of_test"] / "model"
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (saved / file).read_text() == (before / file).read_text()


def test_transformers_writes_what_was_trained(script):
    """The merged model and the adapters that PEFT attaches, both as ours computes it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch")
    names, block = script
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(names["folder_of_test"])
        exec(compile(block, str(PAGE), "exec"), names)
        models = {"merged": names["theirs"]}
        if transformers.utils.is_peft_available():
            import peft

            plain = transformers.AutoModelForCausalLM.from_pretrained("model")
            models["adapted"] = peft.PeftModel.from_pretrained(plain, "adapters")
    assert list(names["theirs"].generation_config.eos_token_id) == list(ENDS)
    assert names["chat"] == names["chats"][0]
    tokens = names["tokenizer"].encode(names["chat"])
    params = names["tuned"](names["adapters"], names["base"])
    logits, before = (
        names["model"].logits(weights, names["model"].apply(weights, jnp.array([tokens])))
        for weights in (params, names["base"])
    )
    assert np.abs(logits - before).max() > 0.01
    for kind, model in models.items():
        with torch.no_grad():
            found = model(torch.tensor([tokens])).logits.float().numpy()
        np.testing.assert_allclose(found, logits, atol=2e-4, err_msg=kind)


@pytest.mark.parametrize("lmbda", [0.0, 1.0])
def test_gkd_is_the_divergence_on_what_it_says(script, lmbda):
    """On demonstrations, or on the student's own answers, by `core.jsd` on whole logits."""
    names, _ = script
    names = dict(names, lmbda=lmbda)
    (block,) = [block for block in BLOCKS if "def gkd_loss" in block]
    body = re.search(r"^def gkd_loss.*?(?=^\w(?<!d))", block, re.DOTALL | re.MULTILINE).group()
    exec(body, names)
    model, teacher, tokenizer = names["model"], names["teacher"], names["tokenizer"]
    batch = jax.tree.map(lambda x: x[:4], names["demonstrations"])
    adapters = init_lora(jax.random.key(3), model, rank=8, targets="all-linear")
    context = {"base": names["base"], "teacher": names["teacher_params"]}
    found, _ = names["gkd_loss"](adapters, None, batch, 0, jax.random.key(5), context)
    problems, tokens, mask = batch["problems"], batch["tokens"], batch["mask"]
    params = attach_lora(names["base"], adapters, alpha=16.0)
    if lmbda:
        own = names["sample"](
            model, params, problems.prompts, problems.prompt_mask, jax.random.key(5), max_new_tokens=4,
            eos=tokenizer.eos_ids, pad=tokenizer.pad_id,
        )  # fmt: skip
        tokens, mask = own.tokens, own.mask
    logits = [
        names["read"](shape, weights, problems, tokens, mask) @ names["output_matrix"](weights)
        for shape, weights in ((model, params), (teacher, names["teacher_params"]))
    ]
    np.testing.assert_allclose(found, masked_mean(jsd(*logits, beta=0.5), where=mask), rtol=1e-4)
