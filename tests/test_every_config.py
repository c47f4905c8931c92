"""Every config in all its variants: it loads, is fair, is tuned as its published search says, and fits together."""

import collections
import functools
import importlib
import importlib.util
import pathlib
import re

import numpy as np
import pytest

from configs._comparison import TWO_VALUES
from experiments._config import load_module, name_of, plan_of
from jaxlab.core import MissingFile, MissingPackage
from jaxlab.metrics import at_edges
from jaxlab.training import Claim, Experiment, check_claims
from jaxlab.training._ahead import Programs
from jaxlab.training.claims import of_run
from jaxlab.training.publish import APART, load_results
from jaxlab.training.report import filled

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = {name_of(str(path)): path for path in sorted((ROOT / "configs").glob("[!_]*/[!_]*.py"))}
RESULTS = load_results(ROOT / "results")

module = functools.cache(lambda name: load_module(str(CONFIGS[name])))
every_config = pytest.mark.parametrize("name", CONFIGS)
SEARCHES = [
    (name, variant) for name in CONFIGS for variant in module(name).VARIANTS if variant.endswith("tune")
]
every_search = pytest.mark.parametrize(("name", "search"), SEARCHES)
PUBLISHED = [(name, search) for name, search in SEARCHES if f"{name}-{search}" in RESULTS]


def arms_of(config):
    """`{task: {arm: its settings, flat}}`; arms that all tasks share are those of ""."""
    parts = {"": config} | dict(config.get("tasks", {}))
    return {task: {arm: flat(own.to_dict()) for arm, own in part.arms.items()} for task, part in parts.items()
            if "arms" in part}  # fmt: skip


def flat(settings, prefix=""):
    found = {}
    for key, value in settings.items():
        value = tuple(value) if isinstance(value, list) else value  # in a JSON file
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def grids_of(config):
    """`{task: {arm: its settings in the order of the grid}}` of a search."""
    found = {}
    for task, arms in arms_of(config).items():
        found[task] = collections.defaultdict(list)
        number = lambda called: int(called.rpartition("_")[2])  # a ConfigDict has 10 before 2
        for called in sorted(arms, key=number):
            found[task][called.rpartition("_")[0]].append(arms[called])
    return found


def same(one, other):
    """Whether two settings agree where both have a value."""
    close = lambda a, b: np.isclose(a, b, rtol=1e-6, atol=0) if type(a) is type(b) is float else a == b
    return all(close(one[key], other[key]) for key in set(one) & set(other))


def claims_of(config):
    """As the drivers make them, under the names that they have in the run."""
    own = [dict(claim) for claim in config.claims]
    tasks = list(config.get("tasks", {})) or [""]
    said = lambda task: [claim for claim in own if task in claim.get("tasks", tasks)]
    make = lambda claim: Claim(**{key: value for key, value in claim.items() if key != "tasks"})
    return of_run({task: tuple(map(make, said(task))) for task in tasks})


@every_config
def test_every_variant_has_the_keys_of_the_default_and_claims_that_can_be_decided(name):
    default = module(name).get_config()
    keys = {arm: set(own) for arms in arms_of(default).values() for arm, own in arms.items()}
    for variant in (None, *module(name).VARIANTS):
        config = module(name).get_config(variant)
        assert set(config) - {"map"} == set(default), variant
        assert config.scale, "a result says its scale in front"
        for arms in arms_of(config).values():
            for arm, own in arms.items():
                assert set(own) == keys.get(
                    arm.rpartition("_")[0] if "tune" in str(variant) else arm, set(own)
                )
        claims = claims_of(config)
        check_claims(claims, {arm: None for claim in claims for arm, _ in claim.measured})
    claims = claims_of(default)
    if any(claim.kind != "benchmark" for claim in claims):
        check_claims(claims, {arm: None for claim in claims for arm, _ in claim.measured}, paper=True)


@every_config
def test_a_variant_that_is_not_there_is_told_which_are(name):
    known = ", ".join(module(name).VARIANTS)
    with pytest.raises(ValueError, match=f"^variant is 'smok': it must be one of {known}$"):
        module(name).get_config("smok")


@every_search
def test_every_arm_of_a_search_has_as_many_settings_on_seeds_that_decide_nothing(name, search):
    config, default = module(name).get_config(search), module(name).get_config()
    counts = {len(settings) for arms in grids_of(config).values() for settings in arms.values()}
    assert len(counts) == 1 < min(counts)
    assert not config.test
    assert not config.claims
    assert config.first_seed >= default.first_seed + default.seeds


@pytest.mark.parametrize(("name", "search"), PUBLISHED)
def test_a_published_search_tried_what_the_config_says(name, search):
    published = RESULTS[f"{name}-{search}"]["settings"] or {}  # None: code and settings are not known
    before = {"": published} | published.get("tasks", {})
    for task, arms in grids_of(module(name).get_config(search)).items():
        for arm, settings in arms.items():
            for n, setting in enumerate(settings):
                searched = {
                    key: value for key, value in setting.items() if any(value != one[key] for one in settings)
                }
                old = before.get(task, {}).get("arms", {})
                own = old.get(f"{arm}_{n}", old.get(f"{arm}-{n}"))
                assert searched
                assert not old or same(flat(own), searched), (task, arm, n)


@functools.cache
def scores_of(name, search):
    """Validation scores of the published search, `{task: {arm: [settings, seeds]}}`, higher is better.

    Tasks that share their arms are under "" as well, by their mean.
    """
    judge = getattr(module(name), "JUDGE", None)
    judge = judge or f"val/{module(name).get_config().claims[0]['metric'].rpartition('/')[2]}"
    sign = -1 if judge.startswith("-") else 1
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for called, own in RESULTS[f"{name}-{search}"]["arms"].items():
        task, arm, n = re.fullmatch(r"(?:(.*)/)?(.*)[_-](\d+)", called).groups()
        seeds = len(RESULTS[f"{name}-{search}"]["seeds"])
        nothing = np.full(seeds, -sign * np.inf)  # of a setting that diverged
        scores = sign * np.array(
            own["metrics"].get(judge.removeprefix("-"), nothing if "diverged" in own else None)
        )
        for place in {task or "", ""}:
            found[place][arm].setdefault(int(n), []).append(scores)
    stacked = lambda arms: {
        a: np.array([np.mean(own[n], 0) for n in range(len(own))]) for a, own in arms.items()
    }
    return {task: stacked(arms) for task, arms in found.items()}


def winners(name, search):
    """For every arm of a published search: task, arm, the settings tried, which of them is the best."""
    for task, arms in grids_of(module(name).get_config(search)).items():
        for arm, settings in arms.items():
            scores = scores_of(name, search)[task][arm]
            assert len(scores) == len(settings)
            yield task, arm, settings, int(scores.mean(axis=1).argmax())


@pytest.mark.parametrize(("name", "search"), PUBLISHED)
def test_settings_are_the_best_of_the_published_search_or_the_config_says_why(name, search):
    chosen = search.removesuffix("tune").removesuffix("_") or None
    variants = [variant for variant in (chosen, "ablations") if variant in (None, *module(name).VARIANTS)]
    written = [arms_of(module(name).get_config(variant)) for variant in variants]
    worse = set()
    for task, arm, settings, best in winners(name, search):
        (own, *_) = [arms[task][arm] for arms in written if arm in arms[task]]
        if not same(own, settings[best]):
            worse.add(arm)
    assert worse == set(getattr(module(name), "WHY", {}))


@every_config
def test_a_setting_at_an_edge_of_its_grid_is_explained(name):
    reasons, used, found = getattr(module(name), "EDGES", {}), set(), set()
    searches = [search for of, search in PUBLISHED if of == name]
    for search in searches:
        for task, arm, settings, best in winners(name, search):
            for key in at_edges(settings, best):
                (reason, *_) = [r for r in (f"{arm}.{key}", arm, key, "*") if r in reasons] or [None]
                assert reason, (
                    f"{task} {arm}: {key} = {settings[best][key]} is at an edge, and EDGES does not say why"
                )
                used.add(reason)
                found.add(f"{arm}: {key}")
                values = {setting[key] for setting in settings}
                assert reasons[reason] != TWO_VALUES or len(values) == 2, (
                    f"{arm}: {key} has {len(values)} values"
                )
    assert used == set(reasons) or not searches, "a reason without an edge"
    assert set(module(name).get_config().open_edges) <= found, "an open edge where no winner is"


# Their smoke variants run whole in tests/experiments, in test_the_smoke_run... of the driver: not traced here again.
RUN = {
    "curriculum/cyclical_curriculum", "curriculum/federated_curriculum",
    "distillation/all", "distillation/dcd", "distillation/dhkd", "distillation/mcmi", "distillation/nd_loss",
    "distillation/noise_mask", "distillation/random_teacher", "distillation/talking_models",
    "distillation/teacher_hacking", "distillation/tgeo_kd", "education/sight", "merging/adamerging",
    "post_training/grpo", "post_training/kdrl", "ranking/dla", "self_supervised/barlow_twins", "self_supervised/sirl",
    "self_supervised/sla", "semi_supervised/dual_mean_teacher", "semi_supervised/ev_wsss", "semi_supervised/hssda",
    "semi_supervised/mean_teacher", "semi_supervised/rail", "semi_supervised/sefar",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in RUN])
def test_the_smoke_variant_fits_together(name):
    if name == "post_training/reasoning_gym":
        pytest.importorskip("reasoning_gym")
    fits_together(module(name).get_config("smoke"))


def fits_together(config):
    """Build the experiment and trace every stage and arm, as a run does before its first step.

    With seeds one after the other: under `vmap` a scan is traced twice. Each driver's own tests have both.
    """
    config.seeds_by = "map"
    built = importlib.import_module(f"experiments.{config.experiment}").build(config)
    Programs({"": built} if isinstance(built, Experiment) else built, plan_of(config), compiles=False)


# The key of the images, where they are, and how many are used.
VARIANTS = [
    (name, variant)
    for name in CONFIGS
    for variant in (None, *module(name).VARIANTS)
    if variant not in ("smoke", "paper")
]


@pytest.mark.wide
@pytest.mark.parametrize(("name", "variant"), VARIANTS, ids=lambda part: str(part or "default"))
def test_every_variant_fits_together(name, variant):
    if name == "post_training/reasoning_gym":
        pytest.importorskip("reasoning_gym")
    config = module(name).get_config(variant)
    try:
        fits_together(config)
    except (MissingFile, MissingPackage) as error:
        pytest.skip(str(error))


PAPERS = {
    "distillation/pld": (
        "tasks.cifar100.data.path",
        ".",
        {"tasks.cifar100.data.train": 300, "tasks.cifar100.data.val": 60},
    ),
    "distillation/random_teacher": (
        "data.path",
        "images.npz",
        {"probe.train_examples": 250, "data.train": 300, "data.val": 60},
    ),
    "self_supervised/barlow_twins": ("data.path", ".", {"data.train": 300, "data.val": 60}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_the_paper_variant_fits_together(name, tmp_path):
    """With few images in the place of the user's, and one arm in the place of all: nets of that size take their time.

    Those of post-training: tests/experiments/test_policy_experiments.py.
    """
    key, place, smaller = PAPERS[name]
    image, label = np.zeros((600, 32, 32, 3), np.uint8), np.arange(600) % 10
    image[::2] = 255
    arrays = {
        "train_image": image,
        "train_label": label,
        "test_image": image[:100],
        "test_label": label[:100],
    }
    np.savez(tmp_path / "images.npz", **arrays)
    for called, array in arrays.items():
        np.save(tmp_path / f"{called}.npy", array)
    config = module(name).get_config("paper")
    config.update_from_flattened_dict({key: str(tmp_path / place), **smaller})
    config.claims = ()
    for part in (config, *config.get("tasks", {}).values()):
        for arm in list(part.get("arms", {}))[1:]:
            del part.arms[arm]
    fits_together(config)


def test_no_other_paper_variant_is_kept():
    """What no test dry-runs is a sentence of the docstring."""
    kept = {name for name in CONFIGS if "paper" in module(name).VARIANTS}
    assert kept == {*PAPERS, "post_training/kdrl", "post_training/grpo"}


PAGES = {f"{page.parent.name}/{page.stem}": page.read_text() for page in (ROOT / "results").glob("*/*.md")}


def test_every_published_comparison_has_a_page():
    assert set(PAGES) == {
        name for name, result in RESULTS.items() if result["claims"] and result["variant"] not in APART
    }


@pytest.mark.parametrize("name", PAGES)
def test_a_page_takes_its_numbers_from_its_result_and_none_that_is_withdrawn(name):
    text, result = PAGES[name], RESULTS[name]
    assert "{" not in filled(text, result)
    claims = {claim["name"]: claim for claim in result["claims"]}
    for claim, key in re.findall(r"\{claim:([^{}:]+):([^{}:]+)\}", text):
        assert key in ("verdict", "why", "text") or claims[claim]["verdict"] != "withdrawn", f"{claim}: {key}"
    nothing = dict.fromkeys(("effect", "ci95", "p")) | {"verdict": "none", "why": "an arm diverged"}
    stopped = {name: {"metrics": {}, "diverged": {}} for part in ("arms", "prepare") for name in result[part]}
    broken = result | {
        "claims": [
            claim | nothing | {"long": nothing | {"by_interval": "none"}} for claim in result["claims"]
        ],
        "arms": stopped,
        "prepare": {},
    }
    assert re.search(r"[+-]\d\.\d{3} \[", filled(re.sub(r"[+-]\d\.\d{3} \[", "", text), broken)) is None
