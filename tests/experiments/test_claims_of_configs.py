"""What every config says beforehand, and that what was published follows from the published numbers."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest

from experiments._config import load_module
from jaxlab.training import Claim, check_claims, decide
from jaxlab.training.claims import of_run
from jaxlab.training.publish import FORMAT, load_results
from jaxlab.training.verdicts import VERDICTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("[!_]*/[!_]*.py"))
RESULTS = load_results(ROOT / "results")


def claims_of(config):
    """By task, as the drivers make them."""
    own = [dict(claim) for claim in config.claims]
    tasks = list(config.get("tasks", {})) or [""]
    said = lambda task: [claim for claim in own if task in claim.get("tasks", tasks)]
    make = lambda claim: Claim(**{key: value for key, value in claim.items() if key != "tasks"})
    return {task: tuple(map(make, said(task))) for task in tasks}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_claims_of_every_variant_can_be_decided(path):
    module = load_module(str(path))
    for variant in (None, *module.VARIANTS):
        config = module.get_config(variant)
        claims = of_run(claims_of(config))
        check_claims(claims, {arm: None for claim in claims for arm, _ in claim.measured})
        assert config.scale, "a result says its scale in front"
    default = of_run(claims_of(module.get_config(None)))
    if any(claim.kind != "benchmark" for claim in default):
        check_claims(default, {arm: None for claim in default for arm, _ in claim.measured}, paper=True)


@pytest.mark.parametrize("name", sorted(name for name, result in RESULTS.items() if result["claims"]))
def test_published_verdicts_follow_from_the_published_numbers(name):
    result = RESULTS[name]
    assert result["format"] == FORMAT
    parts = {**result["prepare"], **result["arms"]}
    said = {field.name for field in dataclasses.fields(Claim)}
    claims = []
    for one in result["claims"]:
        own = {key: value for key, value in one.items() if key in said}
        if "terms" in own:
            del own["metric"]
        claims.append(Claim(**own | ({"sesoi": one["sesoi_as"]} if "sesoi_as" in one else {})))
    splits = {one["name"].rpartition("/")[0]: one.get("resplit") for one in result["claims"]}
    scores = {arm: facts["metrics"] for arm, facts in parts.items()}
    again = decide(claims, scores, seeds=result["seeds"], resplit=splits)
    for one, other in zip(result["claims"], again):
        assert one["verdict"] in VERDICTS
        assert one["by_interval"] == other["by_interval"], one["text"]
        np.testing.assert_allclose(one["effect"], other["effect"])
        if one["verdict"] == "withdrawn":
            assert one["why"]
        elif "long" not in one:
            assert one["verdict"] == other["verdict"]


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_results_of_unknown_code_say_so(name):
    unknown = not re.fullmatch(r"[0-9a-f]{40}", RESULTS[name]["commit"] or "")
    assert not unknown or RESULTS[name]["code"] == "unknown"
    assert (RESULTS[name]["settings"] is None) == (RESULTS[name].get("code") == "unknown")


def test_old_words_are_gone():
    """A result is supported at its scale; "reproduced" is not a word of ours."""
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    files += [
        path
        for folder in ("jaxlab", "experiments", "configs", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ]
    old = re.compile("reproduced|contradicted|inconclusive", re.IGNORECASE)
    assert [str(path) for path in files if old.search(path.read_text())] == []
