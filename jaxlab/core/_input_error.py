"""The one exception of the library's own checks."""


class InputError(ValueError):
    """Something given is wrong: the message says what, which value came, and what is allowed, in one line.

    The library's checks of what it is given raise nothing else. The command line prints such a line alone; every
    other exception, a user's own ValueError included, keeps its traceback.

    >>> from jaxlab.core import InputError, entropy
    >>> try:
    ...     entropy([[1.0, 2.0]], temperature=0.0)
    ... except InputError as error:
    ...     print(error)
    temperature must be positive, got 0.0
    """


InputError.__module__ = "jaxlab.core"  # the name that a traceback shows is the one to import
