"""What was published follows from the published numbers, and says what it comes from."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest

from jaxlab.training import Claim, decide
from jaxlab.training.publish import FORMAT, load_results
from jaxlab.training.verdicts import VERDICTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = load_results(ROOT / "results")


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
    files += (ROOT / "results").rglob("*.md")
    files += [
        path
        for folder in ("jaxlab", "experiments", "configs", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ]
    old = re.compile("reproduced|contradicted|inconclusive", re.IGNORECASE)
    assert [str(path) for path in files if old.search(path.read_text())] == []
