"""Checkpoints: whatever happens to the files or to the process, what comes back is what was saved, or nothing."""

import contextlib
import functools
import itertools
import json
import math
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlab.training import _checkpoint_arrays as arrays
from jaxlab.training import _checkpoint_files as files
from jaxlab.training import make_mesh
from jaxlab.training.checkpoint import Checkpoints

FILE = "state"


def state_at(step: int):
    rng = np.random.default_rng(step)
    return {
        "w": jnp.asarray(rng.normal(size=(40, 50)), jnp.float32),
        "b": (jnp.full(3, step, jnp.bfloat16), jnp.int32(step)),
        "key": jax.random.key(step),
        "flag": jnp.array([True, False]),
    }


def plain(leaf):
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def same(a, b) -> bool:
    """Structure, types, dtypes, shapes and every bit."""
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b)))
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        isinstance(y, jax.Array) == isinstance(x, jax.Array)
        and files.kind(x) == files.kind(y)
        and plain(x).tobytes() == plain(y).tobytes()
        for x, y in pairs
    )


def saved(folder, *steps, **options):
    """A folder with the given steps."""
    checkpoints = Checkpoints(folder, identity="me", **options)
    for step in steps:
        checkpoints.save(step, state_at(step), {"note": step})
    checkpoints.close()
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with the steps 10 and 20."""
    return saved(tmp_path_factory.mktemp("sound"), 10, 20)


def restore(folder, identity="me"):
    return Checkpoints(folder, identity=identity).restore(jax.eval_shape(lambda: state_at(0)))


@contextlib.contextmanager
def silence():
    """No warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_newest_comes_back_whole(sound):
    with silence():
        found = restore(sound)
    assert (found.step, found.facts) == (20, {"note": 20})
    assert same(found.state, state_at(20))
    assert Checkpoints(sound).newest == 20


@pytest.mark.parametrize(
    ("keep", "left"), [(1, ["4"]), (2, ["3", "4"]), (3, ["2", "3", "4"]), (9, list("1234"))]
)
def test_only_the_newest_are_kept(tmp_path, keep, left):
    saved(tmp_path, 1, 2, 3, 4, keep=keep)
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(tmp_path, keep=0)


def test_the_newest_up_to_a_step(tmp_path):
    checkpoints = Checkpoints(saved(tmp_path, 10, 20, 30, keep=3), identity="me")
    abstract = jax.eval_shape(lambda: state_at(0))
    assert [checkpoints.restore(abstract, at_most=most).step for most in (10, 29, 30, 99)] == [10, 20, 30, 30]
    assert checkpoints.restore(abstract, at_most=9) is None
    saved(tmp_path, 15)  # going on from an earlier step, those behind it stay until they are written again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "15", "20", "30"]


def test_an_empty_folder_and_a_missing_one(tmp_path):
    assert restore(tmp_path) is None
    assert restore(tmp_path / "missing") is None
    assert Checkpoints(tmp_path / "missing").newest is None


DTYPES = [
    "bool", "int2", "int4", "int8", "int16", "int32", "int64", "uint2", "uint4", "uint8", "uint16", "uint32",
    "uint64", "bfloat16", "float16", "float32", "float64", "complex64", "complex128", "float4_e2m1fn",
    "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu",
]  # fmt: skip


def test_every_dtype_every_shape_and_every_kind_of_leaf(tmp_path):
    """On the device, on the host, and numbers of Python's; nothing is rounded, nothing changes its type."""
    wide = {
        "int64",
        "uint64",
        "float64",
        "complex128",
    }  # these stay on the host: the device has no room for them
    rng = np.random.default_rng(0)
    host = {name: rng.integers(0, 2, (3, 5)).astype(jnp.dtype(name)) for name in DTYPES}
    host |= {"long": rng.normal(size=7), "column": np.asfortranarray(rng.normal(size=(3, 4)))}
    state = [
        host,
        {name: jnp.asarray(array) for name, array in host.items() if str(array.dtype) not in wide},
        {"key": jax.random.key(1), "keys": jax.random.split(jax.random.key(2, impl="rbg"), (2, 3))},
        [jnp.float32(2.5), np.float64(0.1), np.int8(-3), 7, -(2**53) - 1, 0.1, True, 1 + 2j, math.nan, -0.0],
        [jnp.zeros((0, 3)), np.zeros((2, 0), np.int16), jax.random.split(jax.random.key(0), 0), None, ()],
        jnp.asarray([math.nan, -math.inf, -0.0, 1e-45], jnp.float32),
    ]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, state)
    found = checkpoints.restore(state).state
    assert same(found, state)
    assert list(map(type, jax.tree.leaves(found))) == list(map(type, jax.tree.leaves(state)))
    found[0]["float32"][0] = 1  # what lives on the host can be written to
    with pytest.raises(TypeError, match="'a text' is no array of numbers"):
        checkpoints.save(4, {"name": "a text"})


def test_a_list_of_host_states_as_learners_without_jit_have_it(tmp_path):
    states = [{"params": state_at(seed), "seen": seed, "notes": np.arange(seed)} for seed in range(3)]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, states)
    assert same(checkpoints.restore(states).state, states)


def test_facts_come_back_to_the_last_bit_and_as_they_were_when_saved(tmp_path):
    numbers = [0.1 + 0.2, 5e-324, -0.0, math.inf, -math.inf, math.nan, float(np.float32(0.1)), 1e308]
    facts = {"history": {"val/loss": [numbers]}, "text": "ü\n", "none": None, "big": 2**70}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, jnp.zeros(2), facts)
    facts["history"]["val/loss"].append("later")
    found = checkpoints.restore(jnp.zeros(2)).facts
    assert np.asarray(found["history"]["val/loss"]).tobytes() == np.asarray([numbers]).tobytes()
    assert (found["text"], found["none"], found["big"]) == ("ü\n", None, 2**70)
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoints.save(2, jnp.zeros(2), {"array": np.zeros(2)})


def test_the_state_may_be_given_away_and_written_over(tmp_path, monkeypatch):
    """The next chunk may begin before the writing does."""
    monkeypatch.setattr(files, "write", _after(start := threading.Event(), files.write))
    advance = jax.jit(lambda x: x * 2 + 1, donate_argnums=0)
    device, host = jnp.arange(100_000.0), np.arange(5.0)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, (device, host))
    for _ in range(3):
        device = advance(device)
    host += 7
    start.set()
    found = checkpoints.restore((device, host)).state
    assert same(found, (jnp.arange(100_000.0), np.arange(5.0)))
    # and what was read belongs to the caller alone
    again = checkpoints.restore((device, host)).state
    advance(found[0])
    found[1][:] = 0
    assert same(again, (jnp.arange(100_000.0), np.arange(5.0)))


def _after(event: threading.Event, function):
    def wait_and_do(*args):
        assert event.wait(10)
        return function(*args)

    return wait_and_do


@pytest.mark.parametrize("spec", [P("data", "model"), P(None, "data"), P(("data", "model")), P()])
def test_shardings_are_followed_and_any_devices_can_read(tmp_path, spec):
    x = jnp.arange(128.0).reshape(16, 8)
    keys = jax.random.split(jax.random.key(3), 8)
    mesh = make_mesh({"data": 4, "model": 2})
    where = [NamedSharding(mesh, spec), NamedSharding(mesh, P("data")), NamedSharding(mesh, P())]
    spread = [jax.device_put(x, where[0]), jax.device_put(keys, where[1]), jax.device_put(x, where[2])]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, spread)
    checkpoints.save(2, [x, keys, x])
    abstract = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s) for a, s in zip(spread, where)]
    for like in (abstract, [x, keys, x]):
        for step in (2, 1):
            found = checkpoints.restore(like)
            assert found.step == step
            assert same(found.state, [x, keys, x])
            assert [a.sharding.is_equivalent_to(b.sharding, a.ndim) for a, b in zip(found.state, like)] == [
                True
            ] * 3
            shutil.move(tmp_path / str(step), tmp_path / f"away-{step}")
        for step in (1, 2):
            shutil.move(tmp_path / f"away-{step}", tmp_path / str(step))
    found = checkpoints.restore(abstract).state
    doubled = jax.jit(lambda a: a * 2, donate_argnums=0)(found[2])  # every device has a copy of its own
    assert all((np.asarray(part.data) == 2 * np.asarray(x)).all() for part in doubled.addressable_shards)


# Damage


def flip(path: pathlib.Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    place = min(int(where * len(content)), len(content) - 1)
    content[place] ^= 1 << random.Random(where).randrange(8)
    path.write_bytes(bytes(content))


def truncate(path: pathlib.Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def change(path: pathlib.Path, do) -> None:
    path.write_bytes(bytes(do(bytearray(path.read_bytes()))))


def empty(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def other_step(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    shutil.copytree(step.parent / "10", step)


def zeroed(content: bytearray) -> bytearray:
    """A block of the disk that was never written, as after a power cut."""
    content[4096:8192] = bytes(4096)
    return content


def half_of_another(content: bytearray, other: pathlib.Path) -> bytearray:
    return content[: len(content) // 2] + other.read_bytes()[len(content) // 2 :]


DAMAGE = {
    **{f"bit flip at {w}": lambda s, w=w: flip(s / FILE, w)
       for w in (0.0, 0.001, 0.003, 0.006, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.999, 1.0)},
    **{f"truncated to {k}": lambda s, k=k: truncate(s / FILE, k)
       for k in (0.0, 0.0005, 0.002, 0.004, 0.03, 0.3, 0.7, 0.9999)},
    "file missing": lambda s: (s / FILE).unlink(),
    "another name": lambda s: (s / FILE).rename(s / "State"),
    "a folder in place of the file": lambda s: ((s / FILE).unlink(), (s / FILE).mkdir()),
    "bytes behind the end": lambda s: change(s / FILE, lambda c: c + b"0"),
    "bytes before the beginning": lambda s: change(s / FILE, lambda c: b"0" + c),
    "a page of zeros": lambda s: change(s / FILE, zeroed),
    "the end of another step": lambda s: change(s / FILE, lambda c: half_of_another(c, s.parent / "10" / FILE)),
    "two bytes swapped": lambda s: change(s / FILE, lambda c: c[:5000] + c[5001:5002] + c[5000:5001] + c[5002:]),
    "empty folder": empty,
    "a copy of an older step": other_step,
    "a file in place of the folder": lambda s: (shutil.rmtree(s), s.write_text("not a folder")),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_never_restored_silently(sound, tmp_path, kind):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    DAMAGE[kind](folder / "20")
    with pytest.warns(UserWarning) as told:
        found = restore(folder)
    assert found.step == 10
    assert same(found.state, state_at(10))
    assert len(told) == 1
    assert "20 is damaged" in str(told[0].message)
    assert "using the one before" in str(told[0].message)
    assert "\n" not in str(told[0].message)
    assert (folder / "damaged-20").exists()
    saved(folder, 20)  # the step can be reached and saved again
    with silence():
        assert restore(folder).step == 20


def test_every_single_bit_of_a_file_shows(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"w": jnp.arange(5.0), "b": jnp.bfloat16(1)}, {"loss": 0.5})
    checkpoints.close()
    path = tmp_path / "1" / FILE
    content = path.read_bytes()
    files.check(path)
    with path.open("r+b") as file:
        for place, byte in enumerate(content):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), place)
                with pytest.raises(files.Damaged):
                    files.check(path)
                assert isinstance(checkpoints.peek(), dict)  # unchecked, it may be wrong and may not fail
            os.pwrite(file.fileno(), bytes([byte]), place)
    files.check(path)


def test_every_truncation_of_a_file_shows(tmp_path):
    saved(tmp_path, 1)
    path = tmp_path / "1" / FILE
    content, rng = path.read_bytes(), random.Random(0)
    for size in {0, 1, 31, 32, 39, 40, len(content) - 1, *(rng.randrange(len(content)) for _ in range(200))}:
        path.write_bytes(content[:size])
        with pytest.raises(files.Damaged):
            files.check(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nothing_but_the_warning_reaches_the_user(tmp_path, caplog, capfd):
    """Reads that fail together once printed tracebacks of their own, after the warning."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {f"array {n}": jnp.full((2, 64, 16), n) for n in range(12)})
    checkpoints.close()
    truncate(tmp_path / "1" / FILE, 0.1)
    assert Checkpoints(tmp_path).restore(jnp.zeros(2)) is None
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_all_steps_damaged_starts_over_and_says_so(sound, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    (folder / "damaged-20").mkdir()  # from an earlier time
    for step in ("10", "20"):
        empty(folder / step)
    with pytest.warns(UserWarning) as told:
        assert restore(folder) is None
    assert "starting over" in str(told[-1].message)
    assert (folder / "damaged-20-1").is_dir()


def test_a_checkpoint_of_another_run_is_not_used(sound, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    with pytest.warns(UserWarning, match="belongs to another run"):
        assert restore(folder, identity="someone else") is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"w": jax.ShapeDtypeStruct((3,), jnp.float32)},
            r"\['w'\] is float32\[3\] now and float32\[40, 50\] there",
        ),
        (
            {"flag": jax.ShapeDtypeStruct((2,), jnp.int32)},
            r"\['flag'\] is int32\[2\] now and bool\[2\] there",
        ),
        (
            {"key": jax.eval_shape(lambda: jax.random.key(0, impl="rbg"))},
            r"key<rbg>\[\] now and key<fry>\[\] there",
        ),
        ({"more": jax.ShapeDtypeStruct((), jnp.float32)}, r"\['more'\] is float32\[\] now and absent there"),
    ],
)
def test_a_changed_structure_is_an_error_that_says_where(sound, changed, message):
    with pytest.raises(ValueError, match=message) as error:
        Checkpoints(sound, identity="me").restore({**jax.eval_shape(lambda: state_at(0)), **changed})
    assert "start over with --fresh" in str(error.value)
    assert (sound / "20").is_dir()


def test_what_another_version_wrote_is_refused_in_one_line(tmp_path):
    """Neither the orbax folders of before nor a format to come is taken for damage: both are left where they are."""
    (tmp_path / "20" / "record").mkdir(parents=True)
    (tmp_path / "20" / "_CHECKPOINT_METADATA").write_text("{}")
    message = "are of another version of the code; start over with --fresh$"
    with pytest.raises(ValueError, match=message):
        restore(tmp_path)
    saved(tmp_path, 30)
    path = tmp_path / "30" / FILE
    content = path.read_bytes().replace(b'"format": 1', b'"format": 2')[32:]
    path.write_bytes(files.hashlib.blake2b(content, digest_size=32).digest() + content)
    with pytest.raises(ValueError, match=message):
        restore(tmp_path)
    assert (tmp_path / "20").is_dir()


# Kills, full disks, interrupts


def snapshots(monkeypatch, folder: pathlib.Path, copies: pathlib.Path) -> list[pathlib.Path]:
    """Copies of the folder before and after everything that changes the disk: what a kill would leave there."""
    made = []

    def watch(owner, name):
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args, **kwargs):
            take()
            try:
                return function(*args, **kwargs)
            finally:
                take()

        monkeypatch.setattr(owner, name, watched)

    def take():
        made.append(copies / str(len(made)))
        copy(folder, made[-1])

    copy = shutil.copytree
    for name in ("rename", "mkdir", "unlink", "open"):
        watch(pathlib.Path, name)
    for name in ("fsync", "rmdir", "unlink"):
        watch(os, name)
    return made


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    saved(tmp_path / "run", 1, 2)
    checkpoints = Checkpoints(tmp_path / "run", identity="me")
    with monkeypatch.context() as patch:
        made = snapshots(patch, tmp_path / "run", tmp_path / "copies")
        checkpoints.save(3, state_at(3))
        checkpoints.close()
    assert len(made) > 15
    found = []
    for copy in made:
        with silence():
            newest = restore(copy)
            assert same(newest.state, state_at(newest.step))
            found.append(newest.step)
            saved(copy, 4)  # and the next one can be written there
        assert sorted(path.name for path in copy.iterdir()) in (["2", "4"], ["3", "4"])
    assert found == sorted(found)
    assert set(found) == {2, 3}


def _save_on_and_on(folder: pathlib.Path, first: int) -> None:
    checkpoints = Checkpoints(folder)
    for step in itertools.count(first):
        checkpoints.save(step, {"w": np.full(200_000, step)}, {"step": step})
        assert "orbax" not in sys.modules  # a run of one process does not pay for it


def test_kill_9_again_and_again(tmp_path):
    """A process that does nothing but save dies at random moments; the next goes on from what it finds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jaxlab.training.checkpoint"])
    rng, newest = random.Random(0), 0
    for _ in range(8):
        process = context.Process(target=_save_on_and_on, args=(tmp_path, newest + 1), daemon=True)
        process.start()
        while not any(path.name.isdigit() and int(path.name) >= newest + 2 for path in tmp_path.glob("*")):
            process.join(0.01)  # on a busy machine the step after next may have come and gone
            assert process.is_alive()
        process.join(rng.uniform(0.0, 0.1))
        process.kill()
        process.join()
        with silence():
            found = Checkpoints(tmp_path).restore({"w": np.zeros(200_000, int)})
        assert found.facts == {"step": found.step}
        assert (found.state["w"] == found.step).all()
        assert found.step > newest
        newest = found.step
    saved(tmp_path, newest + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([str(newest), str(newest + 1)])


def test_two_saves_of_one_step(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for value in (1.0, 2.0):
        checkpoints.save(5, jnp.float32(value), {"value": value})
    found = checkpoints.restore(jnp.float32(0))
    assert (float(found.state), found.facts) == (2.0, {"value": 2.0})
    assert [path.name for path in tmp_path.iterdir()] == ["5"]


@contextlib.contextmanager
def full_disk(size: int):
    """No file of this process may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("surfaces", ["at the next save", "on closing"])
def test_a_full_disk_is_one_clear_error_and_earlier_checkpoints_stay(tmp_path, surfaces):
    saved(tmp_path, 1, 2)
    checkpoints = Checkpoints(tmp_path, identity="me")
    with full_disk(4096):
        checkpoints.save(3, state_at(3))
        with pytest.raises(OSError, match=r"cannot write the checkpoint of step 3 under .*File too large"):
            checkpoints.close() if surfaces == "on closing" else checkpoints.save(4, state_at(4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    with silence():
        assert restore(tmp_path).step == 2
    checkpoints.close()  # the error was told once
    checkpoints.save(4, state_at(4))  # and when there is room again, all is well
    assert restore(tmp_path).step == 4


def test_arms_that_are_saved_together_keep_a_step_in_common(tmp_path):
    """One arm's write fails: what the others had yet to write must not push out the step that all of them have."""
    first, second = Checkpoints(tmp_path / "first"), Checkpoints(tmp_path / "second")
    for step in (20, 40):
        first.save(step, jnp.float32(step))
        second.save(step, jnp.float32(step))
    with full_disk(4096):
        second.save(60, np.zeros(9999))
        first.save(60, jnp.float32(60))
        with pytest.raises(OSError, match=r"step 60 under .*second: .*File too large"):
            first.save(80, jnp.float32(80))
    with pytest.raises(OSError, match=r"step 60 under .*second: .*File too large"):
        second.close()
    for name in ("first", "second"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["20", "40"]
    first.save(80, jnp.float32(80))
    assert first.restore(jnp.float32(0)).step == 80


def test_an_unwritable_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write the checkpoint of step 1"):
        Checkpoints(tmp_path / "file" / "below").save(1, state_at(1))


@pytest.mark.parametrize("attempt", range(3))
def test_after_an_interrupted_save_the_next_call_works(tmp_path, monkeypatch, attempt):
    """A notebook: the cell is interrupted while a checkpoint is being written, and run again at once."""
    start = threading.Event()
    monkeypatch.setattr(files, "write", _after(start, files.write))
    interrupted = Checkpoints(tmp_path)
    interrupted.save(100, jnp.float32(100))
    threading.Timer(0.05 * attempt, start.set).start()
    again = Checkpoints(tmp_path)
    with silence():
        assert again.newest == 100
        found = again.restore(jnp.float32(0))
        assert float(found.state) == found.step == 100
        for step in (200, 300):
            again.save(step, jnp.float32(step))
        again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["200", "300"]


# What orbax writes, in one process


@pytest.fixture
def shared(monkeypatch):
    """Orbax writes every array on a device, as if it lay on those of several processes."""
    monkeypatch.setattr(arrays, "is_spread", lambda array: isinstance(array, jax.Array) and array.size > 0)


def test_orbax_keeps_every_dtype_and_refuses_what_we_say_it_does(tmp_path, capfd, caplog):
    wide = {"int64", "uint64", "float64", "complex128"}
    rng = np.random.default_rng(0)
    sharding = NamedSharding(make_mesh({"data": 4}), P("data"))
    host = {name: rng.integers(0, 2, (4, 3)).astype(jnp.dtype(name)) for name in DTYPES if name not in wide}
    host |= {"scalar": np.float32(0.1), "odd": np.asarray([math.nan, -math.inf, -0.0, 1e-45], np.float32)}
    refused = {name: host.pop(name) for name in arrays._REFUSED}
    spread = {
        name: jax.device_put(a, sharding if a.ndim else sharding.update(spec=P())) for name, a in host.items()
    }
    digests = arrays.save(tmp_path / "arrays", spread)
    assert digests == {
        path.relative_to(tmp_path / "arrays").as_posix(): files.digest(path)
        for path in (tmp_path / "arrays").rglob("*")
        if path.is_file()
    }
    on_host = arrays.restore(tmp_path / "arrays", dict.fromkeys(host))
    on_devices = arrays.restore(tmp_path / "arrays", {name: a.sharding for name, a in spread.items()})
    for name, array in host.items():
        for found in (on_host[name], on_devices[name]):
            assert files.kind(found) == files.kind(array)
            assert np.asarray(found).tobytes() == array.tobytes()
        assert isinstance(on_host[name], np.ndarray)
        assert on_devices[name].sharding.is_equivalent_to(spread[name].sharding, array.ndim)
    for name, array in refused.items():
        with pytest.raises(OSError, match=f"orbax: .*{name}"):
            arrays.save(tmp_path / name, {"array": jax.device_put(array, sharding)})
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_form_of_a_folder_is_seen_from_the_folder(tmp_path, monkeypatch, shared):
    """Orbax's, ours and orbax's again; keys, empty arrays, host arrays and numbers in each."""
    state = {
        **state_at(1),
        "none": jnp.zeros((0, 3)),
        "host": np.arange(3.0),
        "number": 7,
        "scalar": np.int8(-3),
    }
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, state, {"of": [0.1, math.inf]})
    checkpoints.close()
    monkeypatch.undo()
    checkpoints.save(2, state)
    checkpoints.close()
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["arrays", "state"]
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["state"]
    mesh = make_mesh({"data": 4})
    w = NamedSharding(mesh, P("data"))
    on_host = {**state, "w": np.zeros((40, 50), np.float32), "flag": np.zeros(2, bool)}
    on_devices = {**state, "w": jax.ShapeDtypeStruct((40, 50), jnp.float32, sharding=w)}
    for step in (2, 1):
        found = checkpoints.restore(on_devices, at_most=step)
        assert found.step == step
        assert same(found.state, state)
        assert found.state["w"].sharding.is_equivalent_to(w, 2)
        plain = checkpoints.restore(on_host, at_most=step).state
        assert isinstance(plain["w"], np.ndarray)
        np.testing.assert_array_equal(plain["w"], state["w"])
    assert checkpoints.restore(state, at_most=1).facts == {"of": [0.1, math.inf]}


def damages(step: pathlib.Path):
    """What can be done to a file, or the whole, of what orbax wrote; each as a word and an action."""
    for path in sorted((step / "arrays").rglob("*")):
        if path.is_file():
            for where in (0.0, 0.3, 0.7, 1.0):
                yield f"a bit of {path}", lambda path=path, where=where: flip(path, where)
            yield f"half of {path}", lambda path=path: truncate(path, 0.5)
            yield f"no {path}", path.unlink
    yield "no arrays", lambda: shutil.rmtree(step / "arrays")
    yield "a bit of the manifest", lambda: flip(step / FILE, 0.5)
    yield "no manifest", (step / FILE).unlink


def test_nothing_damaged_is_read_by_orbax(tmp_path, monkeypatch, shared, capfd, caplog):
    saved(tmp_path / "sound", 10, 20)
    words = [word for word, _ in damages(tmp_path / "sound" / "20")]
    assert len(words) > 20
    restore_arrays, read = arrays.restore, []
    monkeypatch.setattr(arrays, "restore", lambda *args: (read.append(args[0]), restore_arrays(*args))[1])
    for number, word in enumerate(words):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", folder)
        list(damages(folder / "20"))[number][1]()
        with pytest.warns(UserWarning, match="20 is damaged") as told:
            found = restore(folder)
        assert len(told) == 1, word
        assert found.step == 10, word
        assert same(found.state, state_at(10)), word
        assert read.pop() == folder / "10" / "arrays"
        assert not read
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_kill_while_orbax_writes_leaves_the_old_or_the_new(tmp_path, monkeypatch, shared):
    saved(tmp_path / "run", 1, 2)
    checkpoints = Checkpoints(tmp_path / "run", identity="me")
    with monkeypatch.context() as patch:
        made = snapshots(patch, tmp_path / "run", tmp_path / "copies")
        checkpoints.save(3, state_at(3))
        checkpoints.close()
    assert any((copy / "3.tmp" / "arrays").exists() for copy in made)
    found = []
    for copy in made:
        with silence():
            newest = restore(copy)
        found.append(newest.step)
        assert same(newest.state, state_at(newest.step))
    assert found == sorted(found)
    assert set(found) == {2, 3}
    saved(made[len(made) // 2], 4)
    assert "3.tmp" not in {path.name for path in made[len(made) // 2].iterdir()}


def test_a_full_disk_under_orbax_is_one_clear_error(tmp_path, shared, capfd, caplog):
    saved(tmp_path, 1, 2)
    checkpoints = Checkpoints(tmp_path, identity="me")
    with full_disk(2048):
        checkpoints.save(3, state_at(3))
        with pytest.raises(
            OSError, match=r"cannot write the checkpoint of step 3 under .*File too large"
        ) as told:
            checkpoints.close()
    assert "\n" not in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    with silence():
        assert restore(tmp_path).step == 2
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_what_orbax_cannot_read_though_it_is_sound_stays_where_it_is(tmp_path, monkeypatch, shared):
    """A disk that fails, or an orbax that has forgotten its format: no reason to train again from the beginning."""
    saved(tmp_path, 1)
    read = arrays.restore
    monkeypatch.setattr(arrays, "restore", lambda folder, shardings: read(folder / "missing", shardings))
    with pytest.raises(OSError, match=r"cannot read the checkpoint .*1: OSError: orbax: "), silence():
        restore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


# Several processes

_PROCESS = """
import json, os, resource, signal, sys, warnings
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from jaxlab.training import _checkpoint_arrays as arrays, make_mesh
from jaxlab.training.checkpoint import Checkpoints

address, number, folder, end = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
jax.distributed.initialize(address, num_processes=2, process_id=number)
mesh = make_mesh({"data": 2})
on = lambda shape, dtype, *spec: jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*spec)))
like = {
    "w": on((8, 4), jnp.float32, "data"),
    "b": on((6,), jnp.bfloat16),
    "keys": on((4,), jax.random.key(0).dtype, "data"),
    "odd": on((4, 2), jnp.uint4, "data"),
    "none": on((0, 4), jnp.float32, None, "data"),
    "host": np.zeros(3),
    "number": 0,
    "scalar": np.int8(0),
}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    checkpoints = Checkpoints(folder, identity="me", keep=9)
    found = checkpoints.restore(like)
told = [str(warning.message) for warning in told]
for name, leaf in like.items():
    if isinstance(leaf, jax.ShapeDtypeStruct):
        assert found.state[name].sharding.is_equivalent_to(leaf.sharding, leaf.ndim), name
state = {**found.state, **jax.jit(lambda w, b: {"w": w * 2, "b": b + 1})(found.state["w"], found.state["b"])}
for step in range(found.step + 1, found.step + 4):
    checkpoints.save(step, state, {"of": number})
checkpoints.close()
again = checkpoints.restore(like)
assert again.step == step
local = checkpoints.restore({**like, "w": np.zeros((8, 4), np.float32)}).state  # all of it, in each process
assert isinstance(local["w"], np.ndarray)
assert all((local["w"][part.index] == part.data).all() for part in state["w"].addressable_shards)
if number == (0 if end == "killed" else 1):  # no room left, for one of the two
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    checkpoints.save(step + 1, state)
except OSError as error:
    failed = str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
print(json.dumps({"step": found.step, "told": told, "facts": found.facts, "failed": failed}), flush=True)
if end == "killed":
    write = arrays._write
    arrays._write = lambda *args: (write(*args), os.kill(os.getpid(), signal.SIGKILL))
    checkpoints.save(step + 1, state)
jax.distributed.shutdown()
"""


def _two_processes(folder, end: str = "closed") -> list[dict]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("XLA_")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, address, str(number), str(folder), end],
            env={**env, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    ended = [process.communicate(timeout=300) for process in both]
    if end == "killed":
        assert all(process.returncode < 0 for process in both), ended
    else:
        assert [process.returncode for process in both] == [0, 0], ended
        assert all("Traceback" not in err and "orbax" not in err for _, err in ended), ended
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


@pytest.mark.slow
def test_one_process_then_two_then_one(tmp_path):
    """Files of either form are damaged: both go back to the same step, and both say so. Then both are killed."""
    w, b = np.arange(32, dtype=np.float32).reshape(8, 4), np.arange(6)
    at = lambda doubled: {
        "w": jnp.asarray(w * 2**doubled),
        "b": jnp.asarray(b + doubled, jnp.bfloat16),
        "keys": jax.random.split(jax.random.key(5), 4),
        "odd": jnp.asarray(np.arange(8).reshape(4, 2), jnp.uint4),
        "none": jnp.zeros((0, 4)),
        "host": np.asarray([0.1, -0.0, math.inf]),
        "number": 7,
        "scalar": np.int8(-3),
    }
    checkpoints = Checkpoints(tmp_path, identity="me", keep=9)
    checkpoints.save(1, at(0), {"of": "one"})
    checkpoints.close()
    both = _two_processes(tmp_path)
    assert [(found["step"], found["told"], found["facts"]) for found in both] == [(1, [], {"of": "one"})] * 2
    assert all("cannot write the checkpoint of step 5" in found["failed"] for found in both)
    assert "another process says why" in both[0]["failed"]
    assert "File too large" in both[1]["failed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3", "4"]
    assert sorted(path.name for path in (tmp_path / "4").iterdir()) == ["arrays", "state"]
    with silence():
        found = checkpoints.restore(at(0))
    assert (found.step, found.facts) == (4, {"of": 0})
    assert same(found.state, at(1))
    checkpoints.save(5, found.state)
    checkpoints.close()
    flip(tmp_path / "5" / FILE, 0.7)
    of_second = lambda step: sorted((tmp_path / step / "arrays" / "ocdbt.process_1").glob("d/*"))
    flip(max(of_second("4"), key=lambda path: path.stat().st_size), 0.5)
    of_second("3")[-1].unlink()
    both = _two_processes(tmp_path, "killed")
    assert "File too large" in both[0]["failed"]
    assert "another process says why" in both[1]["failed"]
    for found in both:
        assert (found["step"], len(found["told"])) == (2, 3)
        for step, line in zip((5, 4, 3), found["told"]):
            assert f"{step} is damaged" in line
    assert (tmp_path / "6.tmp" / "arrays").is_dir()
    with silence():
        found = checkpoints.restore(at(0))
    assert (found.step, found.facts) == (5, {"of": 0})
    assert same(found.state, at(2))
    checkpoints.save(6, found.state)
    checkpoints.close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*"123456", "damaged-3", "damaged-4", "damaged-5"}
