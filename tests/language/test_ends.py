import json
import re

import jax
import numpy as np
import pytest

from jaxlab.language import (
    CharacterTokenizer,
    Decoder,
    end_ids,
    init_lora,
    load_hugging_face,
    load_lora,
    sample,
    save_hugging_face,
    save_lora,
)

SMALL = Decoder(vocab_size=8, width=8, num_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def params():
    return SMALL.init(jax.random.key(0))


@pytest.fixture
def folder(tmp_path, params):
    """A model with two ends, a generation configuration and a chat template."""
    save_hugging_face(tmp_path, SMALL, params)
    edit(tmp_path / "config.json", eos_token_id=5, bos_token_id=1, pad_token_id=0, attention_dropout=0.1)
    edit(tmp_path / "generation_config.json", eos_token_id=[2, 5], temperature=0.7)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return tmp_path


def edit(file, **changes):
    content = json.loads(file.read_text()) if file.is_file() else {}
    content = {key: value for key, value in (content | changes).items() if value != "absent"}
    file.write_text(json.dumps(content))


def read(folder, name="config"):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [2, 5]}, {"eos_token_id": 5}, (2, 5)),
        ({"eos_token_id": 2}, {"eos_token_id": [5, 2, 6]}, (2,)),
        ({"eos_token_id": 3}, {"eos_token_id": None}, (3,)),
        ({"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.1}, {"eos_token_id": [4, 4]}, (4,)),
        ({}, {"eos_token_id": None}, ()),
        ({}, {"eos_token_id": "absent"}, (2,)),  # Llama's own default in transformers
        ({}, {"eos_token_id": "absent", "model_type": "qwen2", "architectures": "absent"}, ()),
        ({"eos_token_id": 6}, {"eos_token_id": "absent"}, (6,)),
    ],
)
def test_a_folder_names_its_ends(folder, generation, config, expected):
    (folder / "generation_config.json").write_text(json.dumps(generation))
    edit(folder / "config.json", **config)
    assert end_ids(folder) == expected


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"eos_token_id": "</s>"}, "/generation_config.json: eos_token_id is '</s>': it must be an id or a list"),
        ({"eos_token_id": [2.0]}, "eos_token_id is [2.0]: it must be an id or a list of ids"),
        ({"eos_token_id": -1}, "eos_token_id is -1"),
        ({"stop_strings": ["User:"]}, "/generation_config.json: stop_strings is ['User:']: not supported"),
        ({"end_of_turn": 3}, "/generation_config.json: end_of_turn is 3: this key is on no list of docs/model_files"),
    ],
)  # fmt: skip
def test_ends_that_cannot_be_are_refused(folder, generation, message):
    (folder / "generation_config.json").write_text(json.dumps(generation))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        end_ids(folder)
    assert "\n" not in str(error.value)
    if "eos_token_id" not in generation:
        with pytest.raises(ValueError, match=re.escape(message)):
            load_hugging_face(folder)


def test_a_gguf_file_names_its_ends(tmp_path):
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")

    def write(tokens, kinds, **ids):
        writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
        for key, value in ids.items():
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", value)
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return end_ids(tmp_path / "model.gguf")

    plain = ["a", "<end>", "<turn>", "<message>"]
    assert write(plain, [1, 3, 3, 3], eos=1, eot=2, eom=3, bos=0) == (1, 2, 3)
    assert write(plain, [1, 3, 3, 3], eos=1, eot=1) == (1,)
    assert write(["a", "<|eot_id|>", "<|end|>"], [1, 3, 1], eos=0) == (0, 1)  # by name, control tokens only
    assert write(["a", "<|end|>", "<|return|>", "<|call|>"], [1, 3, 3, 3]) == (2, 3)


def test_saving_where_one_loaded_keeps_what_was_there(folder):
    before = read(folder)
    model, params = load_hugging_face(folder)
    save_hugging_face(folder, model, params)
    assert read(folder) == before
    assert end_ids(folder) == (2, 5)
    assert read(folder, "generation_config") == {"eos_token_id": [2, 5], "temperature": 0.7}
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"


def test_what_the_file_says_of_the_shape_is_written_anew(folder, params):
    edit(folder / "config.json", dtype="bfloat16", use_sliding_window=False, eos_token_id="absent")
    wider = Decoder(vocab_size=8, width=8, num_layers=1, num_heads=1, tied=False)
    save_hugging_face(folder, wider, wider.init(jax.random.key(0)))
    config = read(folder)
    assert (config["num_attention_heads"], config["tie_word_embeddings"], config["torch_dtype"]) == (
        1,
        False,
        "float32",
    )
    assert (config["pad_token_id"], config["attention_dropout"]) == (0, 0.1)
    assert (
        not {"dtype", "use_sliding_window", "eos_token_id"} & config.keys()
    )  # absent means Llama's default still
    other = Decoder(vocab_size=9, width=8, num_layers=1, num_heads=1)
    save_hugging_face(folder, other, other.init(jax.random.key(0)))
    assert (read(folder)["eos_token_id"], "pad_token_id" in read(folder)) == (None, False)


def test_saving_elsewhere_takes_along_what_the_source_says(folder, params, tmp_path_factory):
    target = tmp_path_factory.mktemp("target") / "new"
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("{{ tools }}")
    (folder / "notes.txt").write_text("stays where it is")
    save_hugging_face(target, SMALL, params, source=folder)
    assert end_ids(target) == (2, 5)
    assert (read(target)["eos_token_id"], read(target)["bos_token_id"], read(target)["pad_token_id"]) == (
        5,
        1,
        0,
    )
    names = {"generation_config.json", "chat_template.jinja", "tokenizer_config.json"}
    for name in (*names, "additional_chat_templates/tools.jinja"):
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    found = {path.name for path in target.iterdir()}
    assert found == names | {"additional_chat_templates", "config.json", "model.safetensors"}
    save_hugging_face(target, SMALL, params)
    assert read(target)["eos_token_id"] == 5
    with pytest.raises(ValueError, match=r"absent/config\.json does not exist"):
        save_hugging_face(target, SMALL, params, source=folder / "absent")


def test_ends_can_be_given(folder, params, tmp_path_factory):
    new = tmp_path_factory.mktemp("new")
    save_hugging_face(new, SMALL, params, eos=(3, np.int64(6)))
    assert end_ids(new) == (3, 6)
    save_hugging_face(new, SMALL, params, eos=jax.numpy.int32(4))
    assert read(new)["eos_token_id"] == 4
    save_hugging_face(folder, SMALL, params, eos=[7])
    assert end_ids(folder) == (7,)
    assert read(folder, "generation_config") == {"eos_token_id": 7, "temperature": 0.7}
    for eos in (8, [], "a", [1.5], -1):
        with pytest.raises(ValueError, match="eos"):
            save_hugging_face(folder, SMALL, params, eos=eos)


def test_transformers_stops_where_the_saved_folder_says(folder, params):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    library = pytest.importorskip("transformers", reason="transformers is not installed")
    model, params = load_hugging_face(folder)
    save_hugging_face(folder, model, params)
    generation = library.AutoModelForCausalLM.from_pretrained(folder).generation_config
    assert generation.eos_token_id == [2, 5]
    (folder / "generation_config.json").unlink()
    prompt = torch.tensor([[1, 3, 4]])

    def written_by_theirs(ends):
        save_hugging_face(folder, model, params, eos=ends)
        loaded = library.AutoModelForCausalLM.from_pretrained(folder)
        assert loaded.generation_config.eos_token_id in (ends, *ends)
        everything = torch.ones_like(prompt)
        written = loaded.generate(prompt, attention_mask=everything, max_new_tokens=12, do_sample=False)
        return written[0, 3:].tolist()

    whole = written_by_theirs([0])
    ends = [whole[-1], next(token for token in range(1, 8) if token not in whole)]
    theirs = written_by_theirs(ends)
    assert theirs == whole[: whole.index(ends[0]) + 1]
    write = jax.jit(lambda params: sample(
        model, params, prompt.numpy(), np.ones((1, 3), bool), jax.random.key(0), max_new_tokens=12,
        eos=end_ids(folder), temperature=0.0,
    ))  # fmt: skip
    ours = write(params)
    assert ours.tokens[0][ours.mask[0]].tolist() == theirs


def test_character_tokenizers_have_one_end():
    assert CharacterTokenizer("ab").eos_ids == (2,)


def test_saving_adapters_keeps_notes_and_no_mathematics(tmp_path):
    adapters = init_lora(jax.random.key(0), SMALL, rank=2)
    save_lora(tmp_path, SMALL, adapters, alpha=4.0, base="somewhere")
    edit(tmp_path / "adapter_config.json", lora_dropout=0.1, use_rslora=True, revision="main")
    assert load_lora(tmp_path, SMALL)[1] == pytest.approx(4.0 * 2**0.5)
    save_lora(tmp_path, SMALL, adapters, alpha=6.0)
    config = read(tmp_path, "adapter_config")
    assert (config["base_model_name_or_path"], config["lora_dropout"], config["revision"]) == (
        "somewhere",
        0.1,
        "main",
    )
    assert "use_rslora" not in config
    assert load_lora(tmp_path, SMALL)[1] == 6.0
