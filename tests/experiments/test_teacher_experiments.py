"""Teachers that are fused or fine-tuned, from their configs: the smoke runs, fairness, settings that make no sense."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._config import load, plan_of
from experiments.distillation import finetune_teacher, fuse_teacher
from jaxlab import training
from tests.experiments.arms import compiled, data_of, make_all, method, start
from tests.experiments.command import changed

TGEO, MCMI = "configs/distillation/tgeo_kd.py", "configs/distillation/mcmi.py"
DRIVERS = {TGEO: fuse_teacher, MCMI: finetune_teacher}


@pytest.fixture(scope="module", params=DRIVERS)
def smoke(request, tmp_path_factory):
    """The path of a config, the config, and what its smoke run reports."""
    config = changed(request.param, eval_every=5)  # twice: a late change needs something before it
    folder = tmp_path_factory.mktemp("smoke")
    workdir = training.Workdir(folder, json.loads(config.to_json_best_effort()))
    with workdir.opened():
        result = training.run(DRIVERS[request.param].build(config), plan_of(config), workdir, show=False)
    return request.param, config, result


@pytest.mark.slow
def test_the_smoke_run_reports_every_arm_and_decides_every_claim(smoke):
    path, config, result = smoke
    (task,) = config.tasks
    assert set(result["arms"]) == {f"{task}/{arm}" for arm in config.tasks[task].arms}
    shares = {
        TGEO: ("test/accuracy", "test/alpha_wrong", "test/alpha_right", "seen/alpha_wrong"),
        MCMI: ("test/accuracy", "test/omitted_recall", "test/shown_accuracy"),
    }[path]
    for arm in result["arms"].values():
        for metric in shares:
            assert len(arm["metrics"][metric]) == 2
            assert all(0 <= value <= 1 for value in arm["metrics"][metric])
    own = [claim for claim in config.claims if task in claim.get("tasks", config.tasks)]
    assert len(result["claims"]) == len(own) > 0
    assert all(np.isfinite(claim["effect"]) for claim in result["claims"])


@pytest.mark.slow
def test_a_constant_share_has_no_gap_and_a_learned_one_has(smoke):
    path, _, result = smoke
    if path == TGEO:
        gaps = lambda arm: np.abs(result["arms"][f"digits/{arm}"]["metrics"]["seen/trust_gap"])
        assert (gaps("fixed") < 1e-6).all()  # a mean of equal shares is rounded
        assert (gaps("tgeo") > 1e-6).all()
    else:  # how much the answers of each copy vary within a class is reported
        stage = result["prepare"]["omitted/finetuned"]["metrics"]
        assert all(value > 0 for value in stage["test/lambda_15_cmi"])


def test_fused_students_begin_alike_and_what_judges_them_is_kept_from_them():
    experiment = fuse_teacher.build(changed(TGEO))["digits"]
    context = {"teacher": (), "lessons": {"logits": jnp.zeros((200, 10)), "class_means": jnp.eye(10)}}
    key = jax.random.key(0)
    states = [start(experiment, arm, key, context) for arm in ("fixed", "mean_of_each", "tgeo")]
    for state in states[1:]:
        chex.assert_trees_all_equal(state.params, states[0].params)
    chex.assert_trees_all_equal(states[1].controller, states[2].controller)
    own = data_of(experiment, key)
    drawn = jax.vmap(lambda key: experiment.draw(own["train"], key))(jax.random.split(jax.random.key(0), 200))
    index = {name: set(np.unique(batch["index"])) for name, batch in drawn.items()}
    assert index["all"] == set(range(200))
    assert index["lower"] == set(range(170))
    assert index["upper"] == set(range(170, 200))
    chex.assert_trees_all_equal(
        own["seen"]._asdict(),
        {name: own["train"][name][:170] for name in ("image", "label")},
    )


def test_the_teacher_alone_is_taught_flipped_labels():
    taught = lambda **changes: data_of(
        fuse_teacher.build(changed(TGEO, **changes))["digits"], jax.random.key(0)
    )["train"]
    train = taught()
    differ = np.asarray(train["taught"]) != np.asarray(train["label"])
    assert 0.12 < differ.mean() < 0.28
    assert set(np.unique(train["taught"])) <= set(range(10))
    clean = taught(tasks__digits__flipped=0.0)
    np.testing.assert_array_equal(clean["taught"], clean["label"])


def test_few_images_and_the_omitted_class_depend_on_the_seed_and_on_nothing_else():
    experiment = finetune_teacher.build(changed(MCMI))["omitted"]
    names = tuple(changed(MCMI).tasks.omitted.teachers)
    logits = jax.random.normal(jax.random.key(0), (len(names), 200, 10))
    context = {"lessons": {"logits": logits[0]}, "finetuned_lessons": logits}
    begin = lambda arm, seed: start(experiment, arm, jax.random.key(seed), context)
    train = lambda seed: data_of(experiment, jax.random.key(seed))["train"]
    own, batch = train(0), experiment.draw(train(0), jax.random.key(1))
    assert np.bincount(own["images"].label[own["few"]]).tolist() == [4] * 10
    # Students are shown those few alone, teachers all.
    drawn = jax.vmap(lambda key: experiment.draw(own, key))(jax.random.split(jax.random.key(0), 200))
    shown = drawn["shown"]
    assert set(np.unique(shown["index"])) == set(own["few"].tolist())
    np.testing.assert_array_equal(shown["label"], own["images"].label[shown["index"]])
    assert set(np.unique(drawn["index"])) == set(range(200))
    first, same = begin("lambda_0", 0), begin("mcmi", 0)
    assert first.memory["omitted"] == same.memory["omitted"]
    # Each arm reads its own teacher: other answers of that one change what it learns, and of no other.
    moved = {**context, "finetuned_lessons": logits.at[names.index("lambda_50")].multiply(2.0)}
    for arm, state, hears in (("lambda_0", first, False), ("mcmi", same, True)):
        update = jax.jit(method(experiment, arm).learner.update)
        found = [update(state, batch, jax.random.key(1), given)[1]["loss"] for given in (context, moved)]
        assert (found[0] != found[1]) == hears
    others = [begin("lambda_0", seed).memory for seed in (1, 2, 3)]
    assert len({int(first.memory["omitted"]), *(int(other["omitted"]) for other in others)}) > 1
    assert (own["few"] != train(1)["few"]).any()


def test_the_omitted_class_gives_the_student_no_gradient():
    config = changed(MCMI, tasks__omitted__images_per_class=0)
    experiment = finetune_teacher.build(config)["omitted"]
    logits = jax.random.normal(jax.random.key(0), (len(config.tasks.omitted.teachers), 200, 10))
    context = {"lessons": {"logits": logits[0]}, "finetuned_lessons": logits}
    learner = method(experiment, "mcmi").learner
    state = learner.init(jax.random.key(0), context)
    label = int(state.memory["omitted"])
    images = data_of(experiment, jax.random.key(0))["train"]["images"]
    index = jnp.full(8, int(np.flatnonzero(images.label == label)[0]))
    batch = {"image": images.image[index], "label": jnp.full(8, label), "index": index}
    update = jax.jit(learner.update)
    _, metrics = update(state, {"shown": batch}, jax.random.key(0), context)
    assert metrics["loss"] == 0
    other = {**batch, "label": jnp.full(8, (label + 1) % 10)}
    _, shown = update(state, {"shown": other}, jax.random.key(0), context)
    assert shown["loss"] > 0


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        (TGEO, {"tasks__digits__flipped": 1.5}, "flipped is 1.5: it is a share"),
        (TGEO, {"tasks__digits__held_out": 0.0}, "upper_batch is 8: it must be between 1 and the 0 images"),
        (TGEO, {"batch_size": 500}, "batch_size is 500: it must be between 1 and the 170 images"),
        (
            TGEO,
            {"tasks__digits__arms__tgeo__method": "some"},
            "method is 'some': it must be one of fixed, one, each",
        ),
        (MCMI, {"tasks__omitted__images_per_class": -1}, "images_per_class is -1: it must be between 0 and"),
        (
            MCMI,
            {"tasks__omitted__images_per_class": 90},
            "images_per_class is 90: it must be between 0 and the",
        ),
        (
            MCMI,
            {"tasks__omitted__arms__matched__teacher": "me"},
            "teacher is 'me': it must be one of none, plain",
        ),
        (MCMI, {"tasks__omitted__arms__matched__match": "me"}, "match is 'me': it must be empty or"),
    ],
)
def test_settings_that_make_no_sense_are_named(path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_all(DRIVERS[path].build(changed(path, **changes)))


def test_settings_that_differ_in_numbers_alone_are_one_program():
    """Of TGeo-KD: `ce` is the constant share of 0."""
    assert compiled(fuse_teacher.build(load(f"{TGEO}:tune").config)) == {"hierarchy": 5}
