"""What a search could not tell apart."""

import numpy as np
import pytest

from jaxlab.metrics import at_edges, runners_up


def test_runners_up_are_within_one_paired_standard_error():
    best = np.array([0.9, 0.8, 0.7, 0.6])
    # Behind by 0.1, 0, 0.1, 0: mean 0.05, sd 0.0577, standard error 0.0289. Behind by 0.01 on average, error 0.035.
    lost, tied = best - [0.1, 0.0, 0.1, 0.0], best - [0.07, -0.05, 0.07, -0.05]
    assert runners_up(np.stack([lost, tied, best])).tolist() == [1]
    nearer = best - [0.061, -0.06, 0.061, -0.06]
    assert runners_up(np.stack([tied, best, nearer])).tolist() == [2, 0]
    assert runners_up(best[None]).tolist() == []


def test_one_seed_tells_nothing_apart():
    assert runners_up(np.array([[0.1], [0.9], [0.5]])).tolist() == [2, 0]


def test_what_is_no_table_of_scores():
    with pytest.raises(ValueError, match="it must be"):
        runners_up(np.ones(3))
    with pytest.raises(ValueError, match="scores of setting 1 hold NaN: leave it out"):
        runners_up(np.array([[0.5, 0.6], [np.nan, 0.7]]))


def test_edges_are_those_of_numbers_that_were_varied():
    grid = [
        {"rate": rate, "net": net, "aligned": rate > 0.1, "decay": 0.0}
        for net in ("a", "b")
        for rate in (0.1, 0.3, 1.0)
    ]
    assert at_edges(grid, 1) == ()
    assert at_edges(grid, 0) == at_edges(grid, 5) == ("rate",)
