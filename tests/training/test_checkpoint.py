"""Checkpoints: thirty kinds of damage, and never a silently wrong restore."""

import gc
import pathlib
import random
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.training.checkpoint import Checkpoints, fingerprint


def state_at(step: int):
    key = jax.random.fold_in(jax.random.key(0), step)
    return {
        "w": jax.random.normal(key, (40, 50)),
        "b": (jnp.ones(3, jnp.bfloat16) * step, jnp.int32(step)),
        "key": jax.random.key(step),
        "flag": jnp.array([True, False]),
    }


def same(a, b) -> bool:
    return bool((fingerprint(jax.tree.leaves(a)) == fingerprint(jax.tree.leaves(b))).all())


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with the steps 10 and 20."""
    folder = tmp_path_factory.mktemp("sound")
    checkpoints = Checkpoints(folder, identity="me")
    for step in (10, 20):
        checkpoints.save(step, state_at(step), {"note": step})
    checkpoints.close()
    return folder


def restore(folder, identity="me"):
    checkpoints = Checkpoints(folder, identity=identity)
    found = checkpoints.restore(jax.eval_shape(lambda: state_at(0)))
    checkpoints.close()
    return found


def test_the_newest_comes_back_whole(sound):
    found = restore(sound)
    assert (found.step, found.facts) == (20, {"note": 20})
    assert same(found.state, state_at(20))
    assert found.state["key"].dtype == jax.random.key(0).dtype


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, jnp.float32(step))
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_an_empty_folder_and_a_missing_one(tmp_path):
    assert restore(tmp_path) is None
    assert restore(tmp_path / "missing") is None


def flip(path: pathlib.Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    place = min(int(where * len(content)), len(content) - 1)
    content[place] ^= 1 << random.Random(where).randrange(8)
    path.write_bytes(bytes(content))


def truncate(path: pathlib.Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def biggest(step: pathlib.Path) -> pathlib.Path:
    return max((p for p in (step / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def record(step: pathlib.Path) -> pathlib.Path:
    return next(p for p in (step / "record").iterdir() if "success" not in p.name)


def half_copied(step: pathlib.Path) -> None:
    files = sorted(p for p in step.rglob("*") if p.is_file())
    for path in files[len(files) // 2 :]:
        path.unlink()


def empty(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def swap_arrays(step: pathlib.Path) -> None:
    """The arrays of step 10 under the record of step 20."""
    shutil.rmtree(step / "state")
    shutil.copytree(step.parent / "10" / "state", step / "state")


def other_step(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    shutil.copytree(step.parent / "10", step)


DAMAGE = {
    **{f"bit flip in the arrays at {w}": lambda s, w=w: flip(biggest(s), w)
       for w in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1.0)},
    **{f"bit flip in the record at {w}": lambda s, w=w: flip(record(s), w) for w in (0.0, 0.25, 0.5, 0.75, 1.0)},
    **{f"arrays truncated to {k}": lambda s, k=k: truncate(biggest(s), k) for k in (0.0, 0.3, 0.7, 0.99)},
    **{f"record truncated to {k}": lambda s, k=k: truncate(record(s), k) for k in (0.0, 0.5, 0.95)},
    "arrays file missing": lambda s: biggest(s).unlink(),
    "record missing": lambda s: record(s).unlink(),
    "record folder missing": lambda s: shutil.rmtree(s / "record"),
    "state folder missing": lambda s: shutil.rmtree(s / "state"),
    "empty folder": empty,
    "half-copied step": half_copied,
    "arrays of another step": swap_arrays,
    "a copy of an older step": other_step,
    "a file in place of the folder": lambda s: (shutil.rmtree(s), s.write_text("not a folder")),
    "manifest missing": lambda s: (s / "state" / "manifest.ocdbt").unlink(),
    "manifest bit flip": lambda s: flip(s / "state" / "manifest.ocdbt", 0.5),
    "metadata emptied": lambda s: (s / "state" / "_METADATA").write_text(""),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.filterwarnings("always::UserWarning")
def test_damage_is_never_restored_silently(sound, tmp_path, kind):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    DAMAGE[kind](folder / "20")
    with pytest.warns(UserWarning) if not _still_sound(folder) else _nothing() as told:
        found = restore(folder)
    assert same(found.state, state_at(found.step)), "a wrong state came back"
    if told is not None:
        assert found.step == 10
        assert "20 is damaged" in str(told[0].message)
        assert "using the one before" in str(told[0].message)
        assert (folder / "damaged-20").exists()
        again = Checkpoints(folder, identity="me")
        again.save(20, state_at(20))  # the step can be reached and saved again
        again.close()
        assert restore(folder).step == 20


def _still_sound(folder) -> bool:
    """Some flips land in bytes that carry nothing; then the restore must be right, and is checked to be."""
    import warnings

    copy = folder.with_name(f"{folder.name}-probe")
    shutil.copytree(folder, copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = restore(copy)
    return found.step == 20


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_reads_that_fail_together_print_nothing_of_their_own(tmp_path, caplog, monkeypatch):
    """Orbax stops at the first array that cannot be read; the others' tracebacks must not reach the user."""
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    state = {f"array {n}": jax.random.normal(jax.random.key(n), (2, 64, 16)) for n in range(12)}
    for attempt in range(5):
        checkpoints = Checkpoints(tmp_path / str(attempt))
        checkpoints.save(1, state)
        checkpoints.close()
        for path in (tmp_path / str(attempt) / "1" / "state").rglob("d/*"):
            path.write_bytes(path.read_bytes()[:10])
        assert Checkpoints(tmp_path / str(attempt)).restore(state) is None
    gc.collect()  # an abandoned task tells of its error when it is collected
    printed += [record for record in caplog.records if record.name == "asyncio"]
    assert not printed


def test_most_kinds_of_damage_are_noticed(sound, tmp_path):
    """The probe above must not excuse everything: at least 30 of the kinds really damage the step."""
    noticed = 0
    for number, damage in enumerate(DAMAGE.values()):
        folder = tmp_path / str(number)
        shutil.copytree(sound, folder)
        damage(folder / "20")
        noticed += not _still_sound(folder)
    assert noticed >= 30


def test_all_steps_damaged_starts_over_and_says_so(sound, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    for step in ("10", "20"):
        empty(folder / step)
    with pytest.warns(UserWarning) as told:
        assert restore(folder) is None
    assert "starting over" in str(told[-1].message)


def test_a_checkpoint_of_another_run_is_not_used(sound, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    with pytest.warns(UserWarning, match="belongs to another run"):
        assert restore(folder, identity="someone else") is None


def test_a_changed_structure_is_an_error_that_says_where(sound):
    checkpoints = Checkpoints(sound, identity="me")
    with pytest.raises(ValueError, match=r"\['w'\] is float32\[3\] now and float32\[40, 50\] there"):
        checkpoints.restore(
            {**jax.eval_shape(lambda: state_at(0)), "w": jax.ShapeDtypeStruct((3,), jnp.float32)}
        )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.int8, jnp.uint32, jnp.int32])
def test_every_single_bit_shows_in_the_fingerprint(dtype):
    rng = np.random.default_rng(0)
    x = np.asarray(jnp.asarray(rng.normal(size=(3, 5)) * 10, dtype))
    before = fingerprint([jnp.asarray(x)])
    raw = x.tobytes()
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << (bit % 8)
        flipped = np.frombuffer(bytes(changed), x.dtype).reshape(x.shape)
        assert (fingerprint([jnp.asarray(flipped)]) != before).all(), f"bit {bit}"


def test_the_fingerprint_sees_order_and_is_the_same_on_any_devices():
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from jaxlab.training import make_mesh

    x = jnp.arange(64.0).reshape(8, 8)
    assert (fingerprint([x]) != fingerprint([x.T])).any()
    spread = jax.device_put(x, NamedSharding(make_mesh({"data": 4, "model": 2}), P("data", "model")))
    np.testing.assert_array_equal(fingerprint([x]), fingerprint([spread]))
    assert fingerprint([]).shape == (0, 2)
    assert fingerprint([jnp.zeros((0, 3))]).shape == (1, 2)


def test_an_unwritable_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write the checkpoint of step 1"):
        Checkpoints(tmp_path / "file" / "below").save(1, state_at(1))
