"""Claims that can be decided, and one line for those that cannot."""

import pytest

from jaxlab.training import Claim, check_claims
from jaxlab.training.claims import described, of_run


def claim(**changes):
    said = {"name": "a_over_b", "text": "a beats b", "metric": "test/accuracy", "arm": "a", "versus": "b"}
    return Claim(**{**said, **changes})


def terms(*given, **changes):
    return Claim(**{"name": "sum", "text": "a sum", "terms": given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "claim name ''"),
        ({"name": "a b"}, "use letters, digits"),
        ({"kind": "main"}, "kind is 'main', it must be one of headline, secondary"),
        ({"relation": "less"}, "relation is 'less', it must be one of greater, not_worse"),
        ({"rule": "runs"}, "rule is 'runs', it must be one of seeds, percentile"),
        ({"sesoi": 0.0}, "sesoi is 0.0, it must be a number above 0 or a share"),
        ({"sesoi": -1}, "sesoi is -1"),
        ({"sesoi": None}, "sesoi is None"),
        ({"sesoi": float("nan")}, "sesoi is nan"),
        ({"sesoi": "5"}, "sesoi is '5'"),
        ({"sesoi": "five %"}, "sesoi is 'five %'"),
        ({"sesoi": "5 %"}, "a share needs a floor and a ceiling"),
        ({"sesoi": "5 %", "floor": "b"}, "a share needs a floor and a ceiling"),
        ({"metric": ""}, "give either terms or all of metric, arm and versus"),
        ({"versus": ""}, "give either terms or all of metric, arm and versus"),
        ({"terms": (("a", "m", 1.0),)}, "give either terms or all of metric, arm and versus"),
        ({"arm": 0.5, "versus": 0.1}, "it speaks of no arm"),
        ({"needs": ("a_over_b",)}, "it needs itself"),
        ({"kind": "room", "needs": ("other",)}, "a room claim is decided first: it needs nothing"),
    ],
)
def test_impossible_claims_are_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        claim(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give either terms or all of"),
        ((("a", "m"),), r"a term is \('a', 'm'\), it must be \(arm, metric, weight\)"),
        ((("a", "m", 0.0),), "the weight of 'a' is 0.0, it must be finite and not 0"),
        ((("a", "", 1.0),), "give either terms or all of"),
        (((0.5, "", 1.0),), "it speaks of no arm"),
    ],
)
def test_impossible_terms_are_one_line(given, message):
    with pytest.raises(ValueError, match=message):
        terms(*given)


def test_the_sides_of_a_claim():
    assert claim().sides == (("a", "test/accuracy", 1.0), ("b", "test/accuracy", -1.0))
    chance = claim(versus=0.1)
    assert chance.measured == (("a", "test/accuracy"),)
    share = claim(sesoi="5 %", floor="low", ceiling=1.0)
    assert (share.share, claim().share) == (0.05, None)
    assert share.measured == (("a", "test/accuracy"), ("b", "test/accuracy"), ("low", "test/accuracy"))
    # The gain of a over b with noise less that without, from a config, where tuples have become lists.
    both = terms(
        ["a", "noisy/acc", 1], ["b", "noisy/acc", -1], ["a", "acc", -1], ["b", "acc", 1], [0.5, "", 1]
    )
    assert both.unit == "noisy/acc"
    assert len(both.measured) == 4
    hash(both)


def test_a_task_is_put_before_arms_gates_name_and_text():
    own = claim(needs=("room",), sesoi="5 %", floor="low", ceiling=1.0).within("digits")
    assert (own.name, own.text) == ("digits/a_over_b", "digits: a beats b")
    assert (own.arm, own.versus, own.floor, own.ceiling) == ("digits/a", "digits/b", "digits/low", 1.0)
    assert own.needs == ("digits/room",)
    assert claim(versus=0.1).within("digits").versus == 0.1
    assert terms(("a", "m", 1.0), (0.5, "", -1.0)).within("t").terms == (("t/a", "m", 1.0), (0.5, "", -1.0))
    assert claim().within("") == claim()


def test_a_claim_across_tasks_is_about_the_whole_run_and_is_made_once():
    across = terms(("one/a", "m", 0.5), ("two/a", "m", 0.5), ("one/b", "m", -0.5), ("two/b", "m", -0.5))
    run = of_run({"one": (claim(), across), "two": (claim(), across)})
    assert [c.name for c in run] == ["one/a_over_b", "sum", "two/a_over_b"]
    assert of_run({"": (claim(),)}) == (claim(),)


ARMS = {"a": ("test/accuracy", "test/nll"), "b": None, "teacher": ("test/accuracy",)}
ROOM = claim(name="room", kind="room", arm="teacher")


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ((claim(arm="typo"),), "claim 'a beats b' speaks of 'typo': the arms are a, b, teacher"),
        ((claim(sesoi="5 %", floor="low", ceiling=1.0),), "speaks of 'low'"),
        ((claim(metric="test/acc"),), "a has no metric 'test/acc', it has test/accuracy, test/nll"),
        ((terms(("a", "test/nll", 1), ("teacher", "test/nll", -1)),), "teacher has no metric 'test/nll'"),
        ((claim(), claim()), "two claims are called 'a_over_b'"),
        ((claim(needs=("room",)),), "needs 'room': there is no premise or room claim"),
        ((claim(needs=("rom",)), ROOM), "needs 'rom': the premise and room claims are room"),
        ((claim(needs=("other",)), claim(name="other")), "there is no premise or room claim"),
    ],
)
def test_what_a_run_could_not_decide_is_refused(claims, message):
    with pytest.raises(ValueError, match=message) as error:
        check_claims(claims, ARMS)
    assert "\n" not in str(error.value)


def test_what_a_run_can_decide_passes():
    check_claims((claim(needs=("room",)), ROOM, claim(name="c", metric="?", arm="b", versus=0.5)), ARMS)
    # An experiment does not know the arms of the others; the run does.
    across = claim(arm="one/a", versus="two/a")
    check_claims((across,), ARMS)
    check_claims((across,), {"one/a": ("test/accuracy",), "two/a": None})
    with pytest.raises(ValueError, match="speaks of 'two/a'"):
        check_claims((across,), {"one/a": None})


def test_a_paper_has_a_headline_and_at_most_four_claims_that_count():
    counting = [claim(name=f"c{n}", kind="secondary") for n in range(3)]
    others = [claim(name=f"d{n}", kind="ablation") for n in range(9)]
    check_claims([claim(), *counting, *others], ARMS, paper=True)
    both = {task: [claim(), *counting] for task in ("one", "two")}  # a claim on each of two tasks counts once
    arms = {f"{task}/{arm}": None for task in both for arm in ARMS}
    check_claims(of_run(both), arms, paper=True)
    with pytest.raises(ValueError, match="5 claims are of kind headline or secondary: a paper has at most 4"):
        check_claims([claim(), *counting, claim(name="e", kind="headline")], ARMS, paper=True)
    with pytest.raises(ValueError, match="at least one claim of kind 'headline'"):
        check_claims(counting, ARMS, paper=True)
    check_claims(counting, ARMS)


def test_a_result_has_what_the_claim_says_and_no_more():
    assert described(claim()) == {
        "name": "a_over_b", "text": "a beats b", "metric": "test/accuracy", "arm": "a", "versus": "b",
        "kind": "headline", "relation": "greater", "sesoi": 0.01, "rule": "seeds",
    }  # fmt: skip
    said = described(terms(("a", "m", 1.0), (0.5, "", -1.0), needs=("room",), lower_is_better=True))
    assert said["terms"] == (("a", "m", 1.0), (0.5, "", -1.0))
    assert (said["metric"], said["needs"], said["lower_is_better"]) == ("m", ("room",), True)
    assert "arm" not in said
