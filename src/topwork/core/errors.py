"""Error classes, by who can correct the cause.

    TopworkError
    ├── InputError          the user: an input cannot be used; shown in one line
    ├── MachineError        the machine or a server: disk, database, files; shown in one line
    │   ├── DamagedError    a stored file is not as it was written
    │   └── StoreLostError  MLflow's server does not answer any more
    └── DefectError         the developers: shown with its traceback
        └── ServedOtherwiseError

An error of any other class is a defect, too.
"""

from __future__ import annotations


class TopworkError(Exception):
    """Any error that Topwork itself raises on purpose."""


class InputError(TopworkError, ValueError):
    """Something that the user gave cannot be used; the message names it and says what to do."""


class MachineError(TopworkError):
    """The machine or a server has a problem; the message names the file or address and says what to do."""


class DamagedError(MachineError, ValueError):
    """A stored file is not as it was written; the message says what is wrong with it."""


class StoreLostError(MachineError):
    """MLflow's server stopped answering during a run."""

    def __init__(self) -> None:
        super().__init__(
            "The MLflow server does not answer any more. What was finished lies in the data folder; start the server, "
            "and the same command goes on and logs it."
        )


class DefectError(TopworkError, RuntimeError):
    """Topwork has a defect: it does not do what it is meant to do."""


class ServedOtherwiseError(DefectError):
    """The served classifier gives different answers from those that the training reported."""
