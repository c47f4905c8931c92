"""What setup.cfg cannot say: an installation has the experiments, their configs and results in `jaxlab_shipped`."""

import pathlib
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("experiments", "configs", "results")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.curves.json", "*-tune.json")


class BuildWithExperiments(build_py):
    """Copies them under a name that meets no other package; a checkout that is installed as it is has them already."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for name in SHIPPED:
                target = pathlib.Path(self.build_lib) / "jaxlab_shipped" / name
                shutil.copytree(name, target, ignore=LEFT_OUT, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithExperiments})
