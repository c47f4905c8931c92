"""The command `jaxlab` from a folder of one's own: shipped comparisons by name, a new method, a driver anywhere."""

import importlib
import pathlib
import re
import sys
import textwrap
import types

import numpy as np
import pytest

from experiments import _new, command, run
from experiments._config import find_config, load, shipped_configs
from experiments.continual import _task_sets as task_sets
from experiments.parts.images import seeded_images
from experiments.parts.seed_splits import seed_splits
from experiments.self_supervised import _image_sets as image_sets
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import trial
from jaxlab.training.code import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which the command starts with nothing of it imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def said(capsys, *words):
    status = command.main([str(word) for word in words])
    return status, *capsys.readouterr()


def test_help_names_every_command(capsys):
    status, out, _ = said(capsys)
    assert (status, said(capsys, "--help")[1]) == (0, out)
    assert all(f"jaxlab {name}" in out for name in ("run", *command.COMMANDS))


def test_a_config_is_found_by_its_name_from_anywhere(folder):
    (path,) = {find_config(called) for called in ("distillation/pld", "pld", "configs/distillation/pld.py")}
    assert path == str(ROOT / "configs/distillation/pld.py")
    (folder / "pld").write_text("")
    assert find_config("pld") == "pld"


def test_list_and_show_from_anywhere(folder, capsys):
    status, out, _ = said(capsys, "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(shipped_configs())
    status, out, _ = said(capsys, "show", "pld")
    assert status == 0
    assert "variants: smoke, " in out
    assert re.search(r"PLD against KD: [+-]\d\.\d{3} \[", out), "what was found, with its numbers"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rum"], "there is no command 'rum'; did you mean run?"),
        (["show"], "write jaxlab show PAPER"),
        (["show", "plt"], "there is no paper 'plt'; did you mean pld?"),
        (["new", "my-method"], "called like a Python module, my_method for example, not 'my-method'"),
        (["new", "class"], "not 'class'"),
        (["new", "json"], "Python has a module json already"),
        (["run"], "is missing"),
    ],
)
def test_a_mistake_is_one_line(words, expected, folder, capsys):
    status, out, error = said(capsys, *words)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert expected in error
    assert not list(folder.iterdir())


def test_a_new_method_is_run_with_its_code_and_its_test_passes(folder, monkeypatch, capsys):
    """What a run of it says: tests/test_packaging.py, from an installation."""
    status, out, _ = said(capsys, "new", "my_method")
    assert status == 0
    assert "jaxlab run my_method_config.py:smoke" in out
    assert {path.name for path in folder.iterdir()} == {
        "my_method.py",
        "my_method_config.py",
        "test_my_method.py",
    }
    given = {}

    def stopped(tasks, plan, workdir, *, packages, **options):
        given.update(tasks=tasks, packages=packages)
        raise InputError("enough")

    monkeypatch.setattr(run.training, "run", stopped)
    assert said(capsys, "run", "my_method_config.py:smoke", "--workdir=work")[::2] == (2, "error: enough\n")
    assert given["tasks"][""].arms.keys() == {"alone", "averaged"}
    assert given["packages"] == ("jaxlab", "experiments", "my_method")
    assert sources(("my_method",)) == {"my_method.py": (folder / "my_method.py").read_text()}
    importlib.import_module("test_my_method").test_at_weight_zero_it_is_plain_training()
    with pytest.raises(InputError, match="is there already: nothing was written"):
        _new.write_new("my_method", folder)


def test_the_template_is_the_recipe_of_the_page():
    """Under other names: the page's files lie in the repository."""
    page = (ROOT / "docs" / "contributing.md").read_text()
    for path in sorted(_new.TEMPLATE.glob("*.py")):
        text = path.read_text().replace(
            "from average_teacher", "from experiments.distillation.average_teacher"
        )
        text = text.replace('"average_teacher"', '"distillation.average_teacher"').replace(
            "none: an example", "none: the example of the README"
        )
        code = text if path.stem.endswith("config") else text.partition('"""\n\n')[2]
        assert code in page, path.name


def test_a_driver_lies_where_python_looks_or_beside_the_config(folder, monkeypatch, capsys):
    package = folder / "elsewhere" / "theirs"
    package.mkdir(parents=True)
    driver = "def build(config, *, download=False):\n    raise __import__('jaxlab.core').core.InputError('built')\n"
    (package / "driver.py").write_text(driver)
    config = folder / "elsewhere" / "own.py"
    config.write_text(
        textwrap.dedent("""
        from configs._comparison import comparison

        BASE = {"experiment": "theirs.driver", "paper": "", "steps": 1}
        get_config, VARIANTS = comparison(BASE, {"a": {}}, None, (), metric="x", smoke={})
        """)
    )
    assert said(capsys, "run", config)[::2] == (2, "error: built\n")
    (package / "driver.py").write_text("import no_such_package")
    monkeypatch.delitem(sys.modules, "theirs.driver")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        said(capsys, "run", config)


def test_going_on_is_said_in_the_words_that_began(monkeypatch, tmp_path, capsys):
    def stopped(*args, **options):
        raise run.PreemptedRun("digits/kd", 5)

    monkeypatch.setattr(run.training, "run", stopped)
    work = tmp_path / "a b"
    status, _, error = said(capsys, "run", "distillation/pld:smoke", "--fresh", f"--workdir={work}")
    assert status == 75
    assert error.endswith(f"To go on: jaxlab run --config=distillation/pld:smoke '--workdir={work}'\n")


def test_a_loss_a_net_and_a_set_of_ones_own_by_module_and_function(folder, monkeypatch, capsys):
    (folder / "mine.py").write_text(
        textwrap.dedent("""
        import numpy as np
        from flax import linen
        from jaxlab import data
        from jaxlab.core import forward_kl

        def loss(student_logits, teacher_logits, labels, *, temperature):
            return forward_kl(student_logits, teacher_logits, temperature=temperature)

        class Net(linen.Module):
            features: tuple
            num_classes: int

            @linen.compact
            def __call__(self, x):
                return linen.Dense(self.num_classes)(x.reshape(len(x), -1))

        def images(spec, download):
            label = np.arange(400) % 4
            image = (40 * label[:, None, None] + np.ones((4, 4))).astype(np.uint8)
            return data.images_from_arrays(train=(image, label))
        """)
    )
    given = {}

    def stopped(tasks, plan, workdir, *, packages, **options):
        given.update(tasks=tasks, plan=plan, packages=packages)
        raise InputError("enough")

    monkeypatch.setattr(run.training, "run", stopped)
    flags = ["--arms=kd", "data.source=mine:images", "data.train=200", "data.val=40", "data.test=40",
             "student.kind=mine:Net", "arms.kd.method=mine:loss", "arms.kd.learning_rate=0.01"]  # fmt: skip
    words = [flag if flag.startswith("--") else f"--config.tasks.digits.{flag}" for flag in flags]
    assert said(capsys, "run", "pld:smoke", *words, "--workdir=w")[::2] == (2, "error: enough\n")
    assert given["packages"] == ("jaxlab", "experiments", "mine")
    assert given["tasks"]["digits"].arms.keys() == {"kd"}
    trial(given["tasks"]["digits"], given["plan"])


def test_images_of_ones_own_in_a_config_that_has_none(folder):
    flags = [f"--config.tasks.digits.data.{said}" for said in ("source=folder", "path=there", "size=16")]
    config = load("pld", flags).config.tasks.digits.data
    assert (config.source, config.path, config.size) == ("folder", "there", 16)
    with pytest.raises(InputError, match="no folder there"):
        seeded_images(config, False)
    with pytest.raises(InputError, match="the config has no key 'tasks.digits.student.path'"):
        load("pld", ["--config.tasks.digits.student.path=x"])


def _of_continual(config):
    return task_sets.load_sets(config, False).image.shape[1:]


def _of_views(config):
    return image_sets.load_sets(config.data, 1, False).shape


def _of_curricula(config):
    sets = seed_splits(config.tasks.clean.data, (0, 1), False)
    assert sets.rows.keys() == {"train", "val"}  # the test images are those of the file
    return sets.test.image.shape[1:]


@pytest.mark.parametrize(
    ("config", "prefix", "read"),
    [
        ("continual_baselines_task:fashion", "data", _of_continual),
        ("barlow_twins:fashion", "data", _of_views),
        ("cyclical_curriculum:fashion", "tasks.clean.data", _of_curricula),
    ],
)
def test_every_family_takes_a_set_of_ones_own_with_test_images(config, prefix, read, monkeypatch):
    label = np.arange(80) % 4
    images = ((40 * label[:, None, None] + np.ones((4, 4))).astype(np.uint8), label)
    theirs = types.ModuleType("theirs")
    theirs.images = lambda spec, download: data.images_from_arrays(train=images, test=images)
    monkeypatch.setitem(sys.modules, "theirs", theirs)
    said = ["source=theirs:images", "pool=1", "train=20", "val=10"]
    said += ["num_tasks=2"] if read is _of_continual else []
    wanted = load(config, ["--config.seeds=2", *(f"--config.{prefix}.{one}" for one in said)]).config
    assert read(wanted) == (4, 4, 1)
    theirs.images = lambda spec, download: data.images_from_arrays(train=images)
    with pytest.raises(InputError, match="^data.source theirs:images gives no test images"):
        read(wanted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["kdd"], "--arms names 'kdd'; did you mean kd or dkd?"),
        (["a"], "--arms names 'a'; known: ce, dist, dkd, kd, listmle, pld"),
    ],
)
def test_an_arm_that_is_not_there(names, expected):
    with pytest.raises(InputError) as info:
        load("distillation/pld", (), names)
    assert str(info.value).startswith(expected)


def test_arms_by_flag_leave_out_the_claims_that_need_others():
    config = load("distillation/pld", (), ["pld", "kd", "ce"]).config
    assert set(config.tasks.digits.arms) == {"ce", "kd", "pld"} == set(config.tasks.hierarchy.arms)
    assert [claim["name"] for claim in config.claims] == [
        "pld_over_kd",
        "teacher_better",
        "room",
        "converged",
    ]
    assert [claim["name"] for claim in load("distillation/pld", (), ["pld"]).config.claims] == ["converged"]
