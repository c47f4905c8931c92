"""What `summarise` speaks of: the arms, also those without a step, and not the stages before them."""

import dataclasses

from jaxlab.core import computed
from jaxlab.training import Arm, Claim, Workdir, run
from tests.training import toy


def test_arms_are_summarised_and_stages_are_not(tmp_path):
    """The stage has no `mse` to summarise; the arm without a step has one value of it, as its claim is told before."""
    stage = Arm(
        computed(lambda key, context, train: train[0].mean(0)), evaluate=lambda state, split, context: {}
    )
    start = Arm(toy.learner(0.1))
    experiment = dataclasses.replace(
        toy.experiment(trained=Arm(toy.learner(0.1), steps=40), start=start),
        prepare={"mean": stage},
        summarise=lambda history: {"val/rise": history["val/mse"][-1] - history["val/mse"].min(0)},
        claims=(Claim("rises", "training rises from its best", "val/rise", "trained", "start"),),
    )
    workdir = Workdir(tmp_path, {"toy": 1})
    with workdir.opened():
        result = run({"": experiment}, toy.plan(), workdir, show=False)
    assert result["prepare"]["mean"]["metrics"] == {}
    assert result["arms"]["start"]["metrics"]["val/rise"] == [0.0, 0.0, 0.0]
    assert min(result["arms"]["trained"]["metrics"]["val/rise"]) >= 0
