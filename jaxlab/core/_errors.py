"""What the library raises by itself, and what the command line therefore says in one line."""


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


class MissingFile(InputError, FileNotFoundError):
    """A file that was named is not there.

    >>> issubclass(MissingFile, FileNotFoundError) and issubclass(MissingFile, InputError)
    True
    """


class MissingPackage(InputError, ModuleNotFoundError):
    """A package that only some functions need is not installed; the message says how to get it.

    >>> issubclass(MissingPackage, ModuleNotFoundError) and issubclass(MissingPackage, InputError)
    True
    """


class MachineError(OSError):
    """The disk or the network failed, through no fault of code or input: the message says at what, in one line.

    >>> issubclass(MachineError, OSError) and not issubclass(MachineError, InputError)
    True
    """


for _error in (InputError, MissingFile, MissingPackage, MachineError):
    _error.__module__ = "jaxlab.core"  # the name that a traceback shows is the one to import
