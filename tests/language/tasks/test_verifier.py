"""The host's verifier survives what a scorer may do, and is cheap when it does nothing of the kind."""

import importlib.util
import os
import pathlib
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from jaxlab.language.tasks import _helper, verify_text
from tests.language.tasks import scorers

pytestmark = pytest.mark.filterwarnings("ignore:an answer that the scorer fails on")
NONE = {"raised": 0, "timed_out": 0, "not_finite": 0}
KINDS = {"nan": "not_finite", "infinite": "not_finite"} | dict.fromkeys(
    ["loops", "sleeps", "ignores SIGTERM", "swallows exceptions", "hangs in C"], "timed_out"
)


def _helper_id():
    rewards, _ = verify_text(scorers.who, [0], [""], seconds=10.0)
    return int(rewards[0])


def test_scores():
    rewards, counts = verify_text(scorers.equal, ["a", 1, None], ["a", "b", ""], seconds=10.0)
    assert rewards.tolist() == [1, 0, 0]
    assert (rewards.dtype, counts) == (np.float32, NONE)


@pytest.mark.parametrize("fault", scorers.FAULTS)
def test_a_fault_costs_its_own_answer_only(fault):
    rewards, counts = verify_text(scorers.faulty, ["a"] * 4, ["a", fault, "b", "a"], seconds=1.0)
    assert rewards.tolist() == [1, 0, 0, 1]
    assert counts == NONE | {KINDS.get(fault, "raised"): 1}


def test_faults_at_both_ends_and_in_a_row():
    texts = ["nan", "segfaults", "a", "sleeps", "loops", "raises"]
    rewards, counts = verify_text(scorers.faulty, ["a"] * 6, texts, seconds=1.0)
    assert rewards.tolist() == [0, 0, 1, 0, 0, 0]
    assert counts == {"raised": 2, "timed_out": 2, "not_finite": 1}


def test_a_hang_is_cut_in_time():
    start = time.monotonic()
    verify_text(scorers.faulty, ["a"], ["sleeps"], seconds=0.3)
    assert 0.3 <= time.monotonic() - start < 5


def test_what_a_scorer_started_ends_with_it(tmp_path):
    file = tmp_path / "pid"
    _, counts = verify_text(scorers.starts_a_process, [str(file)], [""], seconds=1.0)
    assert counts["timed_out"] == 1
    assert _all_end(file)


def _all_end(file):
    """Whether the processes in the file are gone, or will be at once."""
    processes = file.read_text().split()
    assert processes
    for _ in range(50):
        if all(_has_ended(process) for process in processes):
            return True
        time.sleep(0.1)
    return False


def _has_ended(process):
    """Gone, or a zombie where nobody collects it."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] == "Z"
    except FileNotFoundError:
        return True


def test_many_answers_are_cheap():
    verify_text(scorers.equal, [0], ["0"], seconds=10.0)
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        rewards, _ = verify_text(scorers.equal, ["x"] * 200, ["x", "y"] * 100, seconds=1.0)
        seconds.append(time.monotonic() - start)
        assert rewards.sum() == 100
    assert min(seconds) < 0.5


def test_what_a_scorer_prints_is_shown(capsys):
    rewards, _ = verify_text(scorers.noisy, [0], [""], seconds=10.0)
    assert rewards.tolist() == [1]
    assert capsys.readouterr() == (
        "to the standard output\nstraight to the descriptor",
        "to the standard error\n",
    )


def test_more_than_a_pipe_holds_is_shown_whole_and_at_once(capsys):
    rewards, _ = verify_text(scorers.talkative, ["é\n" * 100_000, "last\n"], ["", "sleeps"], seconds=1.0)
    assert rewards.tolist() == [1, 0]
    assert capsys.readouterr().out == "é\n" * 100_000 + "last\n"


def test_failures_are_shown_once_per_kind_with_the_scorers_traceback():
    texts = [
        "divides",
        "missing a",
        "missing b",
        "None",
        "text",
        "nan",
        "sleeps",
        "leaves",
        "right",
        "divides",
    ]
    shown = set()
    with pytest.warns(UserWarning, match="an answer that the scorer fails on scores 0") as warned:
        rewards, counts = verify_text(scorers.wrong, range(10), texts, seconds=1.0, shown=shown)
    assert rewards.tolist() == [0] * 8 + [1, 0]
    assert counts == {"raised": 7, "timed_out": 1, "not_finite": 1}
    found = [str(warning.message) for warning in warned]
    parts = [
        (
            "2 of 10 answers, the first to item 0: 'divides'",
            "return 1 / 0",
            "ZeroDivisionError: division by zero",
        ),
        ("2 of 10 answers, the first to item 1: 'missing a'", "in _look_up", "KeyError: 'missing a'"),
        ("1 of 10 answers, the first to item 3: 'None'", "the scorer returned None: one number is due"),
        ("1 of 10 answers, the first to item 4: 'text'", "the scorer returned '0.5': one number is due"),
        ("1 of 10 answers, the first to item 5: 'nan'", "the scorer returned nan"),
        ("1 of 10 answers, the first to item 6: 'sleeps'", "the scorer took longer than 1 s"),
        ("1 of 10 answers, the first to item 7: 'leaves'", "the process of the scorer died"),
    ]
    assert len(found) == len(parts) == len(shown)
    for message, expected in zip(found, parts):
        assert all(part in message for part in expected)
        assert "_worker.py" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify_text(scorers.wrong, range(10), texts, seconds=1.0, shown=shown)
    with pytest.warns(UserWarning, match="IndexError"):
        verify_text(scorers.wrong, [0], ["index"], seconds=1.0, shown=shown)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda item, text: 1 / 0, r"Traceback .*in <lambda>\n.*ZeroDivisionError: division by zero"),
        (lambda completions, **kw: [1.0], r"missing 1|takes 1 positional .*called as scorer\(item, text\)"),
        (lambda item, text: None, "the scorer returned None: one number is due for one answer"),
        (lambda item, text: [0.5], r"the scorer returned \[0\.5\]: one number is due for one answer"),
        (lambda item, text: np.ones(1), r"the scorer returned array\(\[1\.\]\): one number is due"),
        (lambda item, text: float("inf"), "the scorer returned inf"),
        (lambda item, text: time.sleep(60), r"the scorer took longer than 0\.5 s"),
    ],
)
def test_a_scorer_that_fails_on_every_answer_may_be_an_error(scorer, message):
    pytest.importorskip("cloudpickle")
    with pytest.raises(RuntimeError, match=f"(?s)the scorer failed on every answer\n.*{message}"):
        verify_text(scorer, [0, 1], ["a", "b"], seconds=0.5, all_may_fail=False)


def test_one_good_answer_is_enough(recwarn):
    rewards, _ = verify_text(scorers.wrong, [0, 1], ["right", "index"], seconds=10.0, all_may_fail=False)
    assert rewards.tolist() == [1, 0]
    assert len(recwarn) == 1


def test_the_helper_leaves_devices_alone_and_hashes_alike():
    assert verify_text(scorers.environment, [0], [""], seconds=10.0)[0].tolist() == [1]


def test_preparation_is_off_the_clock():
    assert verify_text(scorers.slow_start, [0], [""], seconds=0.3)[0].tolist() == [1]


def test_one_helper_replaced_when_it_dies():
    first = _helper_id()
    assert _helper_id() == first
    os.kill(first, signal.SIGKILL)
    second = _helper_id()
    assert second not in (first, os.getpid())


def test_usable_after_an_interrupt(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    verify_text(scorers.equal, [0], [""], seconds=10.0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            verify_text(scorers.sleeps, [str(tmp_path / "pid")], [""], seconds=30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert _all_end(tmp_path / "pid")
    assert verify_text(scorers.equal, ["a"], ["a"], seconds=10.0)[0].tolist() == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_no_child_outlives_a_helper_that_is_killed(tmp_path):
    helper, file = _helper_id(), tmp_path / "pid"

    def kill_it_at_work():
        while not file.exists():
            time.sleep(0.05)
        os.kill(helper, signal.SIGKILL)

    killer = threading.Thread(target=kill_it_at_work)
    killer.start()
    _, counts = verify_text(scorers.sleeps, [str(file)], [""], seconds=1.0)
    killer.join()
    # The new helper tried again, and its child was cut like any other.
    assert counts["timed_out"] == 1
    assert len(file.read_text().split()) == 2
    assert _all_end(file)


def test_threads_do_not_mix_their_answers():
    results = {}

    def run(name):
        for _ in range(5):
            rewards, _ = verify_text(scorers.equal, [name] * 20, ["0", "1"] * 10, seconds=10.0)
            results.setdefault(name, []).append(rewards.tolist())

    threads = [threading.Thread(target=run, args=(name,)) for name in "01"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == {"0": [[1, 0] * 10] * 5, "1": [[0, 1] * 10] * 5}


def test_functions_of_a_notebook():
    pytest.importorskip("cloudpickle")
    weight = 0.5
    rewards, _ = verify_text(lambda item, text: weight * (item == text), ["a"], ["a"], seconds=10.0)
    assert rewards.tolist() == [0.5]


def test_a_scorer_that_cannot_travel(monkeypatch):
    find = importlib.util.find_spec
    without = lambda name, *rest: None if name == "cloudpickle" else find(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ValueError, match="define it in a module, or install cloudpickle") as info:
        verify_text(lambda item, text: 1.0, ["a"], ["a"], seconds=10.0)
    assert "\n" not in str(info.value)
    assert verify_text(scorers.equal, ["a"], ["a"], seconds=10.0)[0].tolist() == [1]


@pytest.mark.parametrize(
    ("items", "texts", "seconds", "message"),
    [
        ([1], [], 1.0, "got 0 texts and 1 items"),
        ([1], ["a"], 0.0, "seconds must be positive and finite, got 0.0"),
        ([1], ["a"], float("inf"), "seconds must be positive and finite"),
        ([1, 2], "ab", 1.0, "texts must be a list, got 'ab'"),
        ("ab", ["a", "b"], 1.0, "items must be a list, got 'ab'"),
        ([1], [b"a"], 1.0, "texts must be a list of texts, got b'a' as number 0"),
    ],
)
def test_errors(items, texts, seconds, message):
    with pytest.raises(ValueError, match=message):
        verify_text(scorers.equal, items, texts, seconds=seconds)


def test_no_answers():
    rewards, counts = verify_text(scorers.equal, [], [], seconds=1.0)
    assert (rewards.shape, counts) == ((0,), NONE)


def test_an_error_in_the_helper_keeps_its_type():
    with pytest.raises(ZeroDivisionError, match="by zero") as error:
        _helper.call_in_helper(divmod, 1, 0)
    assert "In the helper process:\nTraceback" in error.value.__notes__[0]
    assert _helper.call_in_helper(divmod, 7, 2) == (3, 1)
