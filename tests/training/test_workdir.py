"""One folder, one run: metrics that survive a kill, locks, and refusals that say why."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxlab.training import Workdir
from jaxlab.training.metrics import MetricLog, read_rows, series, write_atomically
from jaxlab.training.tracking import trackers
from jaxlab.training.workdir import WorkdirError, differences, suggest


def test_rows_come_back(tmp_path):
    log = MetricLog(tmp_path / "m.jsonl")
    log.write({"arm": "a", "step": 10, "train/loss": np.array([1.0, np.nan], np.float32)})
    log.write({"arm": "b", "step": 10, "train/loss": np.float32(2)})
    assert read_rows(tmp_path / "m.jsonl") == [
        {"arm": "a", "step": 10, "train/loss": [1.0, None]},
        {"arm": "b", "step": 10, "train/loss": 2.0},
    ]


def test_a_torn_line_is_dropped_and_the_log_rewinds(tmp_path):
    path = tmp_path / "m.jsonl"
    log = MetricLog(path)
    for step in (10, 20, 30):
        log.write({"arm": "a", "step": step, "x": 1.0})
    log.write({"arm": "b", "step": 30, "x": 1.0})
    with path.open("a") as file:
        file.write('{"arm": "a", "step": 4')
    again = MetricLog(path)
    again.rewind("a", 10)
    again.write({"arm": "a", "step": 20, "x": 2.0})
    assert [(r["arm"], r["step"], r["x"]) for r in read_rows(path)] == [
        ("a", 10, 1.0),
        ("b", 30, 1.0),
        ("a", 20, 2.0),
    ]
    steps, values = series(again.of("a"), "x")
    assert (steps.tolist(), values.tolist()) == ([10, 20], [[1.0], [2.0]])


def test_tensorboard_files_hold_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    log = MetricLog(None, trackers=trackers(["tensorboard"], tmp_path, name="x", config={"seeds": 2}))
    log.write({"arm": "a", "step": 1, "train/loss": [0.25, 0.5]})
    log.close()
    assert sorted(path.parent.name for path in tmp_path.rglob("events*")) == ["0", "1", "tensorboard"]
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c  # noqa: F401  (the format's module exists)

    raw = next((tmp_path / "tensorboard" / "a" / "0").glob("events*")).read_bytes()
    values, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 8], "little")
        event = Event.FromString(raw[at + 12 : at + 12 + size])
        values += [(value.tag, value.simple_value) for value in event.summary.value]
        at += 16 + size
    assert values == [("train/loss", 0.25)]


def test_atomic_write_replaces(tmp_path):
    write_atomically(tmp_path / "f", "one")
    write_atomically(tmp_path / "f", "two")
    assert (tmp_path / "f").read_text() == "two"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_the_same_config_may_come_back_and_another_is_refused_with_the_difference(tmp_path):
    with Workdir(tmp_path, {"a": {"b": 1}, "seeds": 3}).opened():
        pass
    with Workdir(tmp_path, {"a": {"b": 1}, "seeds": 3}).opened():
        pass
    with (
        pytest.raises(WorkdirError, match=r"another config \(a.b: 1 -> 2; c: absent -> 5\)"),
        Workdir(tmp_path, {"a": {"b": 2}, "seeds": 3, "c": 5}).opened(),
    ):
        pass


def test_other_devices_are_the_same_run(tmp_path):
    one, two = (
        Workdir(tmp_path, {"a": 1, "mesh": {"data": 1}}),
        Workdir(tmp_path, {"a": 1, "mesh": {"data": 8}}),
    )
    assert one.identity == two.identity != Workdir(tmp_path, {"a": 2}).identity
    with one.opened():
        pass
    with two.opened():
        pass
    assert json.loads((tmp_path / "config.json").read_text())["mesh"] == {"data": 8}


def test_fresh_removes_the_earlier_run_and_nothing_else(tmp_path):
    with Workdir(tmp_path, {"a": 1}).opened():
        (tmp_path / "checkpoints" / "arm").mkdir(parents=True)
        (tmp_path / "metrics.jsonl").write_text("old")
    with Workdir(tmp_path, {"a": 2}).opened(fresh=True):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, fresh):
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(WorkdirError, match="holds files that are not a run's"),
        Workdir(tmp_path, {"a": 1}).opened(fresh=fresh),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys; from jaxlab.training.workdir import Workdir, WorkdirError\n"
        "try:\n"
        "    with Workdir(sys.argv[1], {'a': 1}).opened(): print('entered')\n"
        "except WorkdirError as error: print(error)"
    )
    ask = lambda: (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True).stdout
    )
    with Workdir(tmp_path, {"a": 1}).opened():
        assert "another run is using" in ask()
    assert ask() == "entered\n"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(WorkdirError, match="cannot write in .*file/run"),
        Workdir(tmp_path / "file" / "run", {}).opened(),
    ):
        pass


def test_differences_are_short():
    assert differences({"a": 1}, {"a": 1}) == []
    assert differences({i: 0 for i in "abcdef"}, {i: 1 for i in "abcdef"})[-1] == "and 2 more"


def test_suggestions():
    assert suggest("temprature", ["temperature", "seeds"]) == "; did you mean temperature?"
    assert suggest("zzz", ["temperature", "seeds"]) == "; known: temperature, seeds"


def test_claims_texts_devices_and_further_arms_may_change(tmp_path):
    config = lambda **changes: (
        {"steps": 5, "arms": {"a": {"rate": 1}}, "claims": ["x"], "mesh": {"seed": 1}} | changes
    )
    for now in (
        config(),
        config(claims=[], mesh={"seed": 2}, minutes=3, paper="words"),
        config(arms={"a": {"rate": 1}, "b": {"rate": 2}}),
        config(arms={"b": {"rate": 2}}),
    ):
        with Workdir(tmp_path, now).opened():
            pass
    with (
        pytest.raises(WorkdirError, match=r"another config \(arms.b.rate: 2 -> 3\)"),
        Workdir(tmp_path, config(arms={"b": {"rate": 3}})).opened(),
    ):
        pass


def test_the_identity_of_an_arm_is_its_own(tmp_path):
    one = {"arms": {"a": {"rate": 1}, "b": {"rate": 2}}, "steps": 5, "claims": [], "mesh": {"seed": 1}}
    own = lambda config, name="a": Workdir(tmp_path, config).identity_of(name)
    same = one | {"arms": {"a": {"rate": 1}}, "claims": ["x"], "mesh": {"seed": 2}, "paper": "words"}
    assert own(one) == own(same)
    assert own(one) != own(one, "b")
    assert own(one) != own(one | {"steps": 6})
    assert own(one) != own(one | {"arms": {"a": {"rate": 3}}})
    tasks = {"tasks": {"x": {"arms": one["arms"], "size": 1}, "y": {"arms": one["arms"], "size": 2}}}
    other = {"tasks": {"x": tasks["tasks"]["x"], "y": {"arms": {}, "size": 3}}}
    assert own(tasks, "x/a") == own(other, "x/a")
    assert own(tasks, "y/a") != own(other, "y/a")
    assert own(tasks, "x/a") != own(tasks, "y/a")


def test_other_code_is_noticed_in_the_same_folder(tmp_path):
    before = {"jaxlab/a.py": 'def f():\n  """Doc."""\n  return 1\n', "jaxlab/b.py": "x = 1\n"}
    workdir = Workdir(tmp_path, {})
    (first,) = workdir.keep_code(before)
    assert first["changed"] == []
    words = before | {"jaxlab/a.py": 'def f():\n    """Other words."""\n    # why\n    return 1\n'}
    assert workdir.keep_code(words) == [first]
    other = before | {"jaxlab/a.py": "def f():\n  return 2\n", "jaxlab/new.py": "y = 1"}
    with pytest.raises(
        WorkdirError, match=r"other code \(jaxlab/a.py, jaxlab/new.py\): start over with --fresh"
    ):
        workdir.keep_code(other)
    versions = workdir.keep_code(other, accept=True)
    assert [version["changed"] for version in versions] == [[], ["jaxlab/a.py", "jaxlab/new.py"]]
    assert versions[0] == first
    assert workdir.keep_code(other) == versions
    (tmp_path / "code-02.zip").write_bytes(b"torn")
    line = r"code-02.zip is damaged \(not an archive of sources: File is not a zip file\): start over with --fresh$"
    with pytest.raises(WorkdirError, match=line):
        workdir.keep_code(other)


def test_the_sources_are_those_of_the_library():
    from jaxlab.training import code

    found = code.sources()
    assert "jaxlab/training/code.py" in found
    assert code.unpack(code.pack(found)) == found
    with pytest.raises(ValueError, match="not an archive of sources"):
        code.unpack(b"nothing")
