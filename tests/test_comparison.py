"""What makes configs and their variants of data, on small ones."""

import pytest

from configs._comparison import ablation, comparison, grid, headline, premise, secondary
from jaxlab.training import Claim, check_claims

BASE = {"experiment": "family.driver", "paper": "a paper", "steps": 100, "net": {"width": 8}}
ARM = {"method": "ce", "rate": 0.1, "options": {"temperature": 1.0}}
METHODS = {"kd": {"method": "kd"}}
ARMS = {"ce": {"rate": 0.3}, "kd": {"options.temperature": 4.0}, "twin": {}}
GRID = {"ce": grid({"rate": (0.1, 0.3)}), "kd": grid({"options.temperature": (2.0, 4.0)})}
CLAIMS = (
    headline("kd", "ce", needs=("better",)),
    premise("kd", "twin", name="better"),
    secondary("ce", "twin", "it is", metric="nll", lower_is_better=True),
    ablation(
        "kd", "ce", name="between", metric="", terms=(("kd", "test/nll", 1.0), ("ce", "test/nll", -1.0))
    ),
)


def make(base=BASE, arms=ARMS, **changes):
    options = {"metric": "test/accuracy", "arm": ARM, "methods": METHODS, "smoke": {}} | changes
    return comparison(base, arms, GRID, CLAIMS, **options)


def test_the_default_is_complete():
    get_config, variants = make(long=("steps",), variants={"wide": {"net.width": 16}})
    config = get_config()
    assert variants == ("smoke", "tune", "long", "wide")
    assert config.arms.to_dict() == {
        "ce": {"method": "ce", "rate": 0.3, "options": {"temperature": 1.0}},
        "kd": {"method": "kd", "rate": 0.1, "options": {"temperature": 4.0}},
        "twin": {"method": "ce", "rate": 0.1, "options": {"temperature": 1.0}},
    }
    assert (config.seeds, config.mesh.seed, config.steps, config.test) == (8, 0, 100, True)
    assert get_config("wide").net.width == 16
    assert get_config("long").steps == 400
    assert get_config("long").minutes == 4 * config.minutes
    assert get_config().net.width == 8, "a variant leaves the default as it is"


def test_claims_are_named_and_have_the_metric_of_the_comparison():
    first, _, third, _ = make()[0]().claims
    assert first == {"name": "kd_over_ce", "text": "kd beats ce", "kind": "headline", "metric": "test/accuracy",
                     "arm": "kd", "versus": "ce", "needs": ("better",)}  # fmt: skip
    assert (third["name"], third["text"], third["metric"]) == ("ce_over_twin_nll", "it is", "test/nll")
    claims = [Claim(**claim) for claim in make()[0]().claims]
    check_claims(claims, {"ce": None, "kd": None, "twin": None}, paper=True)


def test_a_search_has_every_setting_as_an_arm_on_seeds_of_its_own():
    config = make(tune={"minutes": 9.0})[0]("tune")
    assert {name: (arm.rate, arm.options.temperature) for name, arm in config.arms.items()} == {
        "ce_0": (0.1, 1.0), "ce_1": (0.3, 1.0), "kd_0": (0.1, 2.0), "kd_1": (0.1, 4.0),
    }  # fmt: skip
    assert (config.seeds, config.first_seed, config.test, config.claims) == (5, 1000, False, ())
    assert config.minutes == 9.0


def test_arms_that_are_left_out_take_their_claims_along_and_gates_those_that_need_them():
    get_config, _ = make(smoke={"arms": ("ce", "twin"), "arms.*.rate": lambda rate: 2 * rate})
    config = get_config("smoke")
    assert {name: arm.rate for name, arm in config.arms.items()} == {"ce": 0.6, "twin": 0.2}
    assert [claim["name"] for claim in config.claims] == ["ce_over_twin_nll"]
    shown, _ = make(BASE | {"arms": ("ce", "kd")}, variants={"all": {"arms": ("ce", "kd", "twin")}})
    assert [claim["name"] for claim in shown().claims] == ["between"], (
        "the headline needs a gate about `twin`"
    )
    assert len(shown("all").claims) == len(CLAIMS)
    assert set(shown("tune").arms) == {"ce_0", "ce_1", "kd_0", "kd_1"}


def test_tasks_may_have_settings_of_their_own():
    base = BASE | {"tasks": {"easy": {"noise": 0.0}, "hard": {"noise": 1.0}}}
    get_config, _ = make(
        base, {"easy": ARMS, "hard": {"ce": {"rate": 0.9}, "kd": {}}}, smoke={"tasks": ("hard",)},
        map=("noise", "tasks.hard.noise", (0.0, 0.5)), long=("tasks.*.noise",),
    )  # fmt: skip
    config = get_config()
    assert "arms" not in config
    assert (config.tasks.easy.arms.ce.rate, config.tasks.hard.arms.ce.rate) == (0.3, 0.9)
    assert list(get_config("smoke").tasks) == ["hard"]
    assert [claim["name"] for claim in get_config("smoke").claims] == ["between"]
    assert get_config("long").tasks.hard.noise == 4.0
    points = get_config("map")
    assert {name: (task.noise, task.arms.ce.rate) for name, task in points.tasks.items()} == {
        "hard_0": (0.0, 0.9), "hard_1": (0.5, 0.9),
    }  # fmt: skip
    assert points.map.to_dict() == {"condition": "noise", "values": {"hard_0": 0.0, "hard_1": 0.5}}
    shared = make(base)[0]()
    assert set(shared.arms) == {"ce", "kd", "twin"}
    assert "arms" not in shared.tasks.easy


def test_a_claim_over_tasks_goes_with_a_task_that_is_left_out():
    base = BASE | {"tasks": {"easy": {"noise": 0.0}, "hard": {"noise": 1.0}}}
    over = (("easy/ce", "test/nll", 1.0), ("hard/ce", "test/nll", -1.0))
    claims = (*CLAIMS, ablation(name="harder", text="it is harder", terms=over))
    get_config, _ = comparison(
        base, ARMS, None, claims, metric="test/accuracy", arm=ARM, smoke={"tasks": ("hard",)}
    )
    left = [claim["name"] for claim in get_config("smoke").claims]
    assert left == [claim["name"] for claim in get_config().claims if claim["name"] != "harder"]


def test_what_is_not_there_cannot_be_changed():
    with pytest.raises(ValueError, match="there is no 'widht' to change: the keys are width"):
        make(variants={"wide": {"net.widht": 16}})[0]("wide")
    with pytest.raises(ValueError, match="variant is 'wide': it must be one of smoke, tune$"):
        make()[0]("wide")


def test_keys_of_a_tuple_change_together():
    found = grid({"rate": (1, 2), ("a", "b"): ((3, 4), (5, 6))})
    assert found == [{"rate": rate, "a": a, "b": b} for rate in (1, 2) for a, b in ((3, 4), (5, 6))]
