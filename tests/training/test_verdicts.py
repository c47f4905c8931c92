"""Verdicts on numbers worked by hand, gates before claims, and how often the words are wrong or missing."""

import numpy as np
import pytest

from jaxlab.metrics import detectable_effect, holm, runners_up, t_interval
from jaxlab.training import Claim, decide, qualified
from jaxlab.training.verdicts import table_verdict

METRIC = "test/accuracy"
# Mean 2, standard deviation 1: of five, the half width of the 95 % interval is 2.776445 / sqrt(5) = 1.241664.
AROUND_TWO = np.array([1.0, 1.0, 2.5, 2.5, 3.0])
AROUND_TWO = 2 + (AROUND_TWO - AROUND_TWO.mean()) / AROUND_TWO.std(ddof=1)
VERSUS = np.array([10.0, 20.0, 30.0, 40.0, 50.0])


def claim(**changes):
    return Claim(
        **{"name": "a_over_b", "text": "a beats b", "metric": METRIC, "arm": "a", "versus": "b", **changes}
    )


def scores(differences, **more):
    versus = np.resize(VERSUS, len(differences))
    arms = {"a": versus + differences, "b": versus, **more}
    return {arm: {METRIC: np.asarray(values)} for arm, values in arms.items()}


def decided(differences, **changes):
    return decide([claim(**changes)], scores(differences))[0]


# Interval [0.758, 3.242] around 2, and the same moved.
@pytest.mark.parametrize(
    ("relation", "moved", "sesoi", "verdict"),
    [
        ("greater", 0.0, 1.9, "supported"),
        ("greater", 0.0, 2.1, "undecided"),  # above 0, but the mean is below the sesoi
        ("greater", -0.9, 0.5, "undecided"),  # the interval reaches below 0
        ("greater", -4.0, 1.9, "opposite"),
        ("greater", -4.0, 2.1, "undecided"),
        ("greater", -2.0, 1.3, "no effect"),
        ("greater", -2.0, 1.2, "undecided"),
        ("greater", 0.0, 3.3, "no effect"),  # above 0, yet inside: this goes first
        ("not_worse", 0.0, 0.1, "supported"),
        ("not_worse", -2.0, 1.3, "supported"),
        ("not_worse", -2.0, 1.2, "undecided"),
        ("not_worse", -4.0, 0.7, "opposite"),
        ("not_worse", -4.0, 0.8, "undecided"),
        ("equivalent", -2.0, 1.3, "supported"),
        ("equivalent", -2.0, 1.2, "undecided"),
        ("equivalent", 0.0, 0.7, "opposite"),
        ("equivalent", -4.0, 0.7, "opposite"),
        ("equivalent", 0.0, 0.8, "undecided"),
    ],
)
def test_every_row_of_the_table(relation, moved, sesoi, verdict):
    found = decided(AROUND_TWO + moved, relation=relation, sesoi=sesoi)
    assert found["effect"] == pytest.approx(2 + moved)
    np.testing.assert_allclose(found["ci95"], (2 + moved - 1.241664, 2 + moved + 1.241664), rtol=1e-5)
    assert (found["verdict"], found["by_interval"], found.get("why")) == (verdict, verdict, None)
    mirrored = decided(-AROUND_TWO - moved, relation=relation, sesoi=sesoi, lower_is_better=True)
    assert (mirrored["verdict"], mirrored["effect"]) == (verdict, pytest.approx(2 + moved))


def test_what_stands_beside_a_verdict_by_hand():
    differences = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 5.0])
    found = decide([claim(sesoi=1.0)], scores(differences), n_data=8)[0]
    # mean 2, sd 1.9272, standard error 0.68139; t = 2.93516 with 7 degrees of freedom
    assert found["effect"] == 2.0
    np.testing.assert_allclose(found["ci95"], (2 - 2.364624 * 0.681385, 2 + 2.364624 * 0.681385), rtol=1e-5)
    assert found["p"] == pytest.approx(0.021857, rel=1e-3)
    assert found["p_improvement"] == (6 + 0.5) / 8
    assert found["iqm"] == (1 + 2 + 3 + 3) / 4
    assert (found["ties"], found["n_seeds"], found["n_data"], found["p_bh"]) == (1, 8, 8, None)
    assert found["detectable"] == pytest.approx(detectable_effect(differences.std(ddof=1), 8))
    # From 2 to 0: 80 % power for an effect of 1.0377 standard deviations takes ten seeds.
    assert found["seeds_needed"] == 10
    assert decided(differences, sesoi=2.5)["seeds_needed"] == 119  # the next border is 2.5, half a unit away
    assert decided(differences, sesoi=1.0, relation="not_worse")["seeds_needed"] == 6


def test_pairing_matters():
    """Seeds differ by tens, the arms by one: paired it is certain, and the verdict must see that."""
    arm = VERSUS + [1.0, 1.1, 0.9, 1.0, 1.2]
    ordered = decide([claim()], {"a": {METRIC: arm}, "b": {METRIC: VERSUS}})
    shuffled = decide([claim()], {"a": {METRIC: arm[::-1]}, "b": {METRIC: VERSUS}})
    assert (ordered[0]["verdict"], shuffled[0]["verdict"]) == ("supported", "undecided")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (decide([claim()], {"a": {METRIC: np.ones(5)}, "b": {}}), "b has no test/accuracy"),
        (decide([claim()], {"b": {METRIC: np.ones(5)}}), "a has no test/accuracy"),
        (decide([claim()], scores(AROUND_TWO) | {"a": {METRIC: [1, None, 1, 1, 1]}}), "of a is not finite"),
        (decide([claim()], scores(np.ones(5), a=np.ones(6))), "different numbers of seeds"),
        (decide([claim()], scores([1.0, 2.0, 3.0, 2.0])), "4 seeds, fewer than 5"),
        (decide([claim()], scores([5.0])), "1 seeds, fewer than 5"),
        (decide([claim()], scores(np.ones(8))), "no spread"),
        (decide([claim()], scores(np.ones(8) + 1e-7 * np.arange(8))), "no spread"),
        (decide([claim()], scores(AROUND_TWO), no_verdict="a smoke run"), "a smoke run"),
        (decide([claim(rule="percentile")], scores(np.arange(39.0))), "39 replicates, fewer than 40"),
    ],
)  # fmt: skip
def test_no_verdict_at_all(found, why):
    assert found[0]["verdict"] == "none"
    assert why in found[0]["why"]
    assert (found[0]["by_interval"], found[0]["fragile"]) == (None, [])


def test_a_share_of_the_room_is_the_smallest_effect():
    room = scores(AROUND_TWO, low=VERSUS - 10, high=VERSUS + 30)
    share = {"floor": "low", "ceiling": "high"}
    found = decide([claim(sesoi="4 %", **share), claim(name="more", sesoi="6 %", **share)], room)
    assert [one["sesoi"] for one in found] == pytest.approx([1.6, 2.4])
    assert [one["verdict"] for one in found] == ["supported", "undecided"]
    assert found[0]["sesoi_as"] == "4 %"
    below = decide([claim(sesoi="4 %", floor="low", ceiling=-5.0)], room)[0]
    assert (below["verdict"], below["why"]) == ("none", "the ceiling is not above the floor")
    lower = decide([claim(sesoi="4 %", floor="high", ceiling="low", lower_is_better=True)], room)[0]
    assert lower["sesoi"] == pytest.approx(1.6)


def test_terms_are_differences_of_differences_numbers_and_other_tasks():
    one, two = scores(AROUND_TWO), scores(0.5 * AROUND_TWO)
    run = {f"{task}/{arm}": own for task, part in (("one", one), ("two", two)) for arm, own in part.items()}
    gain = (("one/a", METRIC, 1), ("one/b", METRIC, -1), ("two/a", METRIC, -1), ("two/b", METRIC, 1))
    chance = (("one/a", METRIC, 1), ("one/b", METRIC, -1), (1.5, "", -1))
    claims = [Claim("gain", "more on one", terms=gain), Claim("chance", "over 1.5", terms=chance)]
    found = decide(claims, run)
    assert [one["effect"] for one in found] == pytest.approx([1.0, 0.5])
    np.testing.assert_allclose(found[0]["ci95"], (1 - 0.620832, 1 + 0.620832), rtol=1e-4)
    against_number = decide([claim(arm="one/a", versus=30.0)], run)[0]
    assert against_number["effect"] == pytest.approx(2.0)


def gates(*differences, needs=("room", "converged")):
    """A headline that holds, and gates with the given differences."""
    more = {f"x{i}": VERSUS + values for i, values in enumerate(differences)}
    own = [claim(name=name, kind="premise", arm=f"x{i}") for i, name in enumerate(needs)]
    return decide([claim(needs=needs), *own], scores(AROUND_TWO, **more))


def test_gates_are_decided_first_and_what_needs_a_failed_one_is_not_tested():
    held = gates(AROUND_TWO, AROUND_TWO + 1)
    assert [one["verdict"] for one in held] == ["supported"] * 3
    failed = gates(AROUND_TWO, AROUND_TWO - 2)
    assert (failed[0]["verdict"], failed[0]["by_interval"]) == ("not tested", "supported")
    assert (failed[0]["why"], failed[0]["failed_gates"]) == ("converged is undecided", ["converged"])
    assert failed[0]["fragile"] == []
    both = gates(-AROUND_TWO, np.ones(5))
    assert both[0]["why"] == "room is opposite, converged is none"


def test_a_smoke_run_has_no_verdict_before_it_asks_for_gates():
    own = decide(
        [claim(needs=("room",)), claim(name="room", kind="room")],
        scores(AROUND_TWO),
        no_verdict="a smoke run",
    )
    assert [one["verdict"] for one in own] == ["none", "none"]


def test_secondary_claims_and_ablations_are_decided_by_holm_and_headlines_are_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 8))
    noise = (noise - noise.mean(1, keepdims=True)) / noise.std(1, ddof=1, keepdims=True)
    # t = effect * sqrt(8): p = 0.0008, 0.019, 0.026, 0.035 alone, by Holm 0.0031, 0.057, 0.057, 0.057
    effects = (2.0, 1.07, 0.995, 0.92)
    arms = {f"a{i}": effect + row for i, (effect, row) in enumerate(zip(effects, noise))}
    own = {arm: {METRIC: values} for arm, values in {**arms, "b": np.zeros(8)}.items()}
    kinds = ("secondary", "secondary", "ablation", "headline")
    claims = [claim(name=f"c{i}", arm=f"a{i}", kind=kind) for i, kind in enumerate(kinds)]
    found = decide(claims, own)
    p = np.array([one["p"] for one in found])
    assert p.max() < 0.05
    assert (holm(p) < 0.05).tolist() == [True, False, False, False]
    assert [one["verdict"] for one in found] == ["supported", "undecided", "undecided", "supported"]
    assert [one["ci_holm"][0] > 0 for one in found] == [True, False, False, False]
    assert "fails Holm" in found[3]["fragile"]
    assert all(one["fragile"] == [] for one in found[:3])
    # Gates and benchmark rows do not make it harder for them, and have a family of their own or none.
    more = [claim(name="room", arm="a1", kind="room"), claim(name="row", arm="a1", kind="benchmark")]
    again = decide([*claims, *more], own)
    assert again[:4] == found
    assert (again[4]["verdict"], again[4]["ci_holm"]) == ("supported", None)
    assert again[5]["ci_holm"] == pytest.approx(again[5]["ci95"])  # the only one of its family
    rows = [claim(name=f"c{i}", arm=f"a{i}", kind="benchmark") for i in range(4)]
    assert [one["verdict"] for one in decide(rows, own)] == [
        "supported",
        "undecided",
        "undecided",
        "undecided",
    ]


def test_a_headline_that_hangs_on_one_seed_is_fragile():
    differences = np.array([1.0, 1.1, 0.9, 1.0, 1.2, -0.55])
    found = decide([claim(sesoi=0.5)], scores(differences), seeds=(10, 11, 12, 13, 14, 15))[0]
    assert found["verdict"] == "supported"
    alone = [t_interval(np.delete(differences, i))[0] > 0 for i in range(6)]
    turning = [str(10 + i) for i in range(6) if not alone[i]]
    assert turning
    assert found["fragile"] == [f"turns without seed {', '.join(turning)}"]
    assert decided(AROUND_TWO + 5)["fragile"] == []
    # One that a gate leaves untested keeps the reason for the day a long run brings it back.
    needy = claim(sesoi=0.5, needs=("absent",))
    untested = decide([needy], scores(differences), seeds=(10, 11, 12, 13, 14, 15))[0]
    assert (untested["verdict"], untested["fragile"]) == ("not tested", [])
    assert untested["fragile_by_interval"] == found["fragile"]


def test_replicates_of_one_data_set_are_decided_by_percentiles():
    replicates = np.linspace(0.5, 10.5, 201)
    found = decide(
        [claim(rule="percentile", sesoi=1.0)], scores(replicates, b=np.zeros(201), a=replicates), n_data=77
    )[0]
    np.testing.assert_allclose(found["ci95"], (0.75, 10.25))
    assert (found["verdict"], found["n_data"], found["n_seeds"]) == ("supported", 77, 201)
    assert found["p"] == pytest.approx(2 / 202)
    assert found["fragile"] == []
    below = decide([claim(rule="percentile", sesoi=6.0)], scores(replicates, b=np.zeros(201), a=replicates))[
        0
    ]
    assert below["verdict"] == "undecided"


def test_splits_that_share_examples_widen_the_interval():
    plain, corrected = (decide([claim()], scores(AROUND_TWO), resplit=split)[0] for split in (None, (1, 4)))
    width = lambda one: one["ci95"][1] - one["ci95"][0]
    assert width(corrected) / width(plain) == pytest.approx(np.sqrt(1 / 5 + 1 / 4) / np.sqrt(1 / 5))
    assert (plain["verdict"], corrected["verdict"]) == ("supported", "supported")
    assert ("resplit" in plain, corrected["resplit"]) == (False, [1, 4])
    moved = scores(AROUND_TWO - 0.5)
    assert [decide([claim()], moved, resplit=s)[0]["verdict"] for s in (None, (1, 4))] == [
        "supported",
        "undecided",
    ]


def test_draws_and_splits_may_differ_by_task():
    run = {f"{task}/{arm}": own for task in ("one", "two") for arm, own in scores(AROUND_TWO).items()}
    across = Claim(
        "both",
        "on both",
        terms=[(f"{task}/{arm}", METRIC, w) for task in ("one", "two") for arm, w in (("a", 1), ("b", -1))],
    )
    claims = [claim().within("one"), claim().within("two"), across]
    found = decide(claims, run, n_data={"one": 1, "two": 5}, resplit={"one": None, "two": (1, 4)})
    assert [one["n_data"] for one in found] == [1, 5, 1]
    widths = np.array([one["ci95"][1] - one["ci95"][0] for one in found])
    np.testing.assert_allclose(
        widths / widths[0], [1, 1.5, 3.0]
    )  # the sum of both is twice as wide, and corrected


def turned(**changes):
    """A supported headline, and the same claim with other numbers."""
    return decide([claim()], scores(AROUND_TWO))[0] | changes


def test_the_long_run_stands_in_for_convergence_or_makes_fragile():
    (held, *_), (failed, *_) = gates(AROUND_TWO, AROUND_TWO), gates(AROUND_TWO, AROUND_TWO - 2)
    same, other = [turned()], [turned(by_interval="undecided", effect=0.1)]
    tested = qualified([failed], long=same)[0]
    assert (tested["verdict"], "why" in tested, tested["fragile"]) == ("supported", False, [])
    assert tested["long"]["by_interval"] == "supported"
    hangs = failed | {"fragile_by_interval": ["fails Holm"]}
    assert (hangs["fragile"], qualified([hangs])[0]["fragile"]) == ([], [])
    back = qualified([hangs], long=same)
    assert back[0]["fragile"] == qualified(back, long=same)[0]["fragile"] == ["fails Holm"]
    assert qualified([failed], long=other)[0]["verdict"] == "not tested"
    assert qualified([failed])[0]["verdict"] == "not tested"
    assert qualified([held], long=other)[0]["fragile"] == ["turns at more steps"]
    assert qualified(qualified([held], long=other), long=same)[0]["fragile"] == []
    # What a claim needs has to hold at both lengths: a long run without it stands in for nothing.
    untested = [turned(failed_gates=["learns", "converged_kd"])]
    assert qualified([failed], long=untested)[0]["verdict"] == "not tested"
    assert qualified([held], long=untested)[0]["fragile"] == ["at more steps learns does not hold"]
    assert qualified([held], long=[turned(failed_gates=["converged_kd"])])[0]["fragile"] == []
    # A gate other than convergence is not healed by more steps.
    premise = gates(AROUND_TWO - 2, AROUND_TWO)[0]
    assert qualified([premise], long=same)[0]["verdict"] == "not tested"
    task = failed | {"failed_gates": ["digits/converged_kd"]}
    assert qualified([task], long=same)[0]["verdict"] == "supported"


def test_runners_up_and_edges_make_fragile():
    held = turned(fragile=["fails Holm"], fragile_by_interval=["fails Holm"])
    settings = {
        "a: rate 0.1": [turned(effect=1.5)],
        "b: rate 0.1": [turned(effect=0.002)],
        "b: rate 1": [turned(effect=None)],
    }
    found = qualified([held], runners_up=settings, edges=("a: decay",))[0]
    assert found["fragile"] == ["fails Holm", "turns with b: rate 0.1", "winner at the edge of a: decay"]
    assert qualified([found])[0]["fragile"] == ["fails Holm"]
    assert qualified([held], edges=("other: decay",))[0]["fragile"] == ["fails Holm"]
    assert qualified([turned(kind="secondary")], edges=("a: decay",))[0]["fragile"] == []
    withdrawn = turned(verdict="withdrawn", why="refuted", fragile=[])
    assert (
        qualified([withdrawn], runners_up=settings, edges=("a: decay",), long=[turned()])[0]["why"]
        == "refuted"
    )


# how often the words are wrong, and how often they are missing

SEEDS, TUNING, SETTINGS = 16, 5, 6
DETECTABLE = detectable_effect(np.sqrt(2), SEEDS)  # of two arms that scatter by 1 on every seed


def searched(rng, cases, spread, effect=0.0):
    """Two arms with the same six settings, whose true scores scatter by `spread`, each with its own search."""
    truth = np.broadcast_to(spread * rng.normal(size=(cases, 1, SETTINGS)), (cases, 2, SETTINGS))
    tuning = truth[..., None] + rng.normal(size=(cases, 2, SETTINGS, TUNING))
    best = tuning.mean(-1).argmax(-1)
    chosen = np.take_along_axis(truth, best[..., None], -1)
    final = chosen + rng.normal(size=(cases, 2, SEEDS)) + np.array([[effect], [0.0]])
    ceiling = chosen[:, 1] + 8 + rng.normal(size=(cases, SEEDS))
    return final, ceiling, truth, tuning


def verdicts_of(final, ceiling, sesoi):
    """The headline of every case, behind a gate that asks for room."""
    claims = [
        claim(sesoi=float(sesoi), needs=("room",)),
        claim(name="room", kind="room", arm="ceiling", sesoi=2 * float(sesoi)),
    ]
    for (a, b), top in zip(final, ceiling):
        yield decide(claims, {"a": {METRIC: a}, "b": {METRIC: b}, "ceiling": {METRIC: top}})[0]


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 2.0])
def test_equal_arms_are_seldom_told_apart(spread):
    """Through search, gate and verdict, where the seeds can detect the smallest effect of interest."""
    final, ceiling, *_ = searched(np.random.default_rng(1), 500, spread)
    wrong = [one["verdict"] in ("supported", "opposite") for one in verdicts_of(final, ceiling, DETECTABLE)]
    assert np.mean(wrong) <= 0.06


def test_what_a_search_decides_by_chance_is_fragile():
    """With a sesoi too small for the seeds, other settings than the best are told apart: the flag must say so."""
    rng = np.random.default_rng(2)
    final, ceiling, truth, tuning = searched(rng, 600, 0.5)
    plain = firm = 0
    for case, one in enumerate(verdicts_of(final, ceiling, 0.5)):
        if one["verdict"] not in ("supported", "opposite"):
            continue
        plain += 1
        again = {}
        for arm, sign in ((0, 1.0), (1, -1.0)):
            rival = final[case, 1 - arm, :TUNING]
            for setting in runners_up(tuning[case, arm]):
                own = truth[case, arm, setting] + rng.normal(size=TUNING)
                again[f"{arm}: {setting}"] = [{"name": "a_over_b", "effect": sign * (own - rival).mean()}]
        firm += qualified([one], runners_up=again)[0]["fragile"] == []
    assert plain / 600 > 0.08
    assert firm / 600 <= 0.06


def test_an_effect_half_as_large_again_as_the_detectable_one_is_found():
    final, ceiling, *_ = searched(np.random.default_rng(3), 300, 0.0, effect=1.5 * DETECTABLE)
    for sesoi in (0.3, DETECTABLE):
        assert np.mean([one["verdict"] == "supported" for one in verdicts_of(final, ceiling, sesoi)]) >= 0.8


def test_the_table_takes_arrays():
    words = table_verdict("greater", np.array([1.0, -1.0]), np.array([0.5, -2.0]), np.array([1.5, -0.5]), 0.1)
    assert words.tolist() == ["supported", "opposite"]
