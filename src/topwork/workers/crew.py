"""The workers of a run, and what comes back from them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from topwork.core.errors import DefectError, InputError

Job = Callable[[], Any]


@dataclass(frozen=True)
class Outcome:
    """What a job returned, or the error that it raised; an error of a class that may be unknown here comes as text."""

    returned: Any
    raised: Exception | None

    @classmethod
    def of(cls, job: Job) -> Outcome:
        """The outcome of the job, which is done now."""
        try:
            return cls(job(), None)
        except InputError as error:
            return cls(None, error)
        except Exception:
            return cls(None, DefectError(f"A worker process failed:\n{traceback.format_exc()}"))

    @property
    def value(self) -> Any:
        """What the job returned.

        Raises:
            Exception: the job raised it.

        """
        if self.raised is not None:
            raise self.raised
        return self.returned


@dataclass(frozen=True)
class Crew:
    """``count`` worker processes, with so many ``threads`` each.

    ``submit`` sends a job to any of them. ``died`` says whether an error of the future means that the worker died.
    ``joblib`` is the name of joblib's backend for the same machines, or None.
    """

    count: int
    threads: int
    submit: Callable[[Job], Future[Outcome]]
    died: Callable[[BaseException], bool]
    joblib: str | None


working: ContextVar[Crew | None] = ContextVar("crew", default=None)


def current_crew() -> Crew | None:
    """The workers that were hired for this run, or None."""
    return working.get()
