"""What can go wrong, by whose part it is to mend.

    TopworkError
    ├── InputError          the user's: something given cannot be used; told in one line
    ├── MachineError        the machine's or a server's: disk, database, files; told in one line
    │   ├── DamagedError    a stored file is not as it was written
    │   └── StoreLostError  MLflow's server stopped answering
    └── DefectError         ours: it keeps its trace
        └── ServedOtherwiseError

An error of any other class is a defect, too.
"""

from __future__ import annotations


class TopworkError(Exception):
    """Any error that Topwork itself raises on purpose."""


class InputError(TopworkError, ValueError):
    """Something that the user gave cannot be used; the message names it and says what to do."""


class MachineError(TopworkError):
    """The machine or a server cannot do what is needed; the message names the file or address and says what to do."""


class DamagedError(MachineError, ValueError):
    """A stored file is not as it was written; the message says in which way."""


class StoreLostError(MachineError):
    """MLflow's server stopped answering in the middle of a run."""

    def __init__(self) -> None:
        super().__init__(
            "The MLflow server does not answer any more. What was finished lies in the data folder; start the server, "
            "and the same command goes on and logs it."
        )


class DefectError(TopworkError, RuntimeError):
    """Topwork does not do what it promises."""


class ServedOtherwiseError(DefectError):
    """The served classifier gives other answers than the training reported."""
