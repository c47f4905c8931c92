"""jaxlab: teachers and students in JAX.

Pure functions on arrays, grouped by family: `jaxlab.core`, `jaxlab.distillation`, and the engine that runs
them, `jaxlab.training`. Import the family you need; importing `jaxlab` alone loads nothing heavy.
"""

__version__ = "0.1.0"
