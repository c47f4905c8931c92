"""Every public name: documented with shapes and source, an example that runs, and a test of its room that names it."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import jaxlab
from tests.public import public

TESTS = pathlib.Path(__file__).parent
ROOMS = sorted(
    module.name.removeprefix("jaxlab.")
    for module in pkgutil.walk_packages(jaxlab.__path__, "jaxlab.")
    if module.ispkg
)
LIBRARY = [room for room in ROOMS if room != "training"]
# What has no paper for its source: containers, files, checks, masked reductions, builders of learners and empty states.
PLUMBING = {
    "continual": "anchor_init reservoir_init progressive.progressive_init",
    "core": "as_float bank_init computed cosine_similarity data_devices debug_checks ema_init gradient_learner "
            "masked_log_softmax masked_max masked_mean masked_softmax masked_std masked_sum match_varying mixed_rows "
            "normalize pass_rows queue_init queue_items split_rows until",
    "curriculum": "alp_gmm.init riac.init",
    "data": "draw images_from_arrays images_from_csv images_from_datasets images_from_folder images_from_npz "
            "images_from_torch most_similar_pair split split_images swing_orders take task_batch task_examples "
            "task_steps volume_slices",
    "language": "check_sampling check_vocabulary completion_hidden end_ids gguf_chat_template load_gguf "
                "load_hugging_face load_lora load_tokenizer output_matrix pack_for_decoding sample save_hugging_face "
                "save_lora save_tokenizer stack_layers token_positions",
    "post_training": "completion_scores completion_texts text_problems",
    "semi_supervised": "adaptive_init curriculum_init hssda.store_init prototype_memory.class_queues_init",
}  # fmt: skip
# Classes that are methods; all others hold or read something.
METHODS = {"language": "Decoder RopeScaling"}
SOURCE = re.compile(r"^Reference:(.*?)(?:\n\n|\Z)", re.DOTALL | re.MULTILINE)
YEAR = re.compile(r"\b(1[89]|20)\d\d\b")
METAPHORS = ("vary_alike", "vary alike", "owes to", "vouch", "._look(", "def _look(", "_coming")
LONGEST = 60  # lines of a docstring


def things(room):
    """Name and value of everything that a room and the modules of its papers make public."""
    return [(name.rpartition(".")[2], value) for name, value in public(f"jaxlab.{room}").items()]


@pytest.mark.parametrize("room", ROOMS)
def test_all_is_complete(room):
    module = importlib.import_module(f"jaxlab.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    names = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith("jaxlab")
    }
    assert names <= set(module.__all__)
    assert module.__doc__


@pytest.mark.parametrize("room", ROOMS)
def test_documented(room):
    for name, value in things(room):
        if not callable(value):
            continue
        text = inspect.getdoc(value) or ""
        assert text, f"{name} has no docstring"
        assert text.splitlines()[0].rstrip().endswith("."), f"{name}: the first line is a sentence"
        if inspect.isfunction(value) and inspect.signature(value).parameters:
            assert "Args:" in text, f"{name} says nothing of its arguments"


@pytest.mark.parametrize("room", LIBRARY)
def test_functions_have_an_example(room):
    for name, value in things(room):
        if inspect.isfunction(value):
            assert ">>>" in inspect.getdoc(value), f"{name} has no example"


def is_method(room, name, value):
    """Whether a paper is its source: a loss, a method, a metric, a net."""
    if inspect.isfunction(value):
        return room != "training" and name not in PLUMBING.get(room, "").split()
    return room == "nets" or name in METHODS.get(room, "").split()


@pytest.mark.parametrize("room", ROOMS)
def test_a_source_is_named_by_its_year_and_plumbing_has_none(room):
    for path, value in public(f"jaxlab.{room}").items():
        name, text = path.removeprefix(f"jaxlab.{room}."), inspect.getdoc(value) or ""
        if callable(value):
            source = SOURCE.search(text)
            assert (source is not None) == is_method(room, name, value), (
                f"{path}: a source, or a place in PLUMBING"
            )
            assert source is None or YEAR.search(source[1]), f"{path}: the year of its source"
            assert len(text.splitlines()) <= LONGEST, f"{path}: a shorter docstring"


def test_plumbing_names_what_there_is():
    for room, names in (*PLUMBING.items(), *METHODS.items()):
        assert {f"jaxlab.{room}.{name}" for name in names.split()} <= public(f"jaxlab.{room}").keys()


def test_no_metaphors_where_the_field_has_a_word():
    for folder in ("jaxlab", "experiments", "configs"):
        for path in (TESTS.parent / folder).rglob("*.py"):
            text = path.read_text().lower()
            assert [word for word in METAPHORS if word in text] == [], path


@pytest.mark.parametrize("room", ROOMS)
def test_a_test_of_the_room_speaks_of_it(room):
    own = TESTS / room.replace(".", "/")
    text = "".join(path.read_text() for path in [*own.rglob("*.py"), *TESTS.glob("*.py")])
    assert [name for name, _ in things(room) if name not in text] == []


@pytest.mark.wide
@pytest.mark.parametrize("room", ROOMS)
def test_examples_run(room):
    folder = pathlib.Path(importlib.import_module(f"jaxlab.{room}").__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            module = importlib.import_module(f"jaxlab.{room}.{path.stem}")
            assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0, module
