"""Log messages as lines for people: the stage, the message and the seconds, without padding or line breaks."""

from __future__ import annotations

import logging

from kedro.logging import RichHandler
from rich import get_console
from rich.text import Text

from topwork.core.visible import visible
from topwork.run.stages import Stages, told_seconds

_WORTH_SAYING = 1.0  # seconds that a stage must take for its time to be shown
_log = logging.getLogger(__name__)


class Lines(logging.Handler):
    """Prints a line for each message; the last one of a stage waits for its end, and then tells its seconds too.

    A warning is printed once. Lines are as long as they are: a terminal breaks them, a file does not need it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = Stages(self._end)
        self._waiting = dict[str, str]()  # the last message of each stage
        self._warned = set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, or let it wait for the end of its stage."""
        if getattr(record, "ended", False):  # printed by `_end`
            return
        message = visible(record.getMessage())
        if record.levelno >= logging.WARNING:
            self._warn(record, message)
        elif record.levelno < logging.INFO:
            self.tell("", message, "dim")
        elif getattr(record, "now", False) or not self.stages.current:
            self._tell_waiting(self.stages.current)
            self.tell(self.stages.current, message)
        else:
            self._tell_waiting(self.stages.current)
            self._waiting[self.stages.current] = message

    def tell(self, stage: str, message: str, style: str = "") -> None:
        """Print one line."""
        line = Text(f"{stage}: " if stage else "", style="bold").append(message, style=style or "not bold")
        get_console().print(line, soft_wrap=not get_console().is_terminal)

    def finish(self) -> None:
        """End all stages, print what waits, and forget which warnings were printed."""
        self.stages.end()
        self._warned.clear()

    def _warn(self, record: logging.LogRecord, message: str) -> None:
        if message in self._warned:
            return
        self._warned.add(message)
        self._tell_waiting(self.stages.current)
        self.tell("", f"{record.levelname.capitalize()}: {message}", "red" if record.exc_info else "yellow")
        if record.exc_info:
            self.tell("", visible(logging.Formatter().formatException(record.exc_info)))

    def _tell_waiting(self, stage: str) -> None:
        if stage in self._waiting:
            self.tell(stage, self._waiting.pop(stage))

    def _end(self, stage: str, seconds: float) -> None:
        took = told_seconds(seconds) if seconds >= _WORTH_SAYING else ""
        message = self._waiting.pop(stage, "")
        if took:
            _log.info("%s: %s", stage, took, extra={"ended": True})  # for other handlers, such as a file
        if message:
            self.tell(stage, f"{message} ({took})" if took else message)
        elif took:
            self.tell(stage, took)


def take_over(lines: Lines) -> None:
    """Let these lines replace Kedro's own handler, which pads and breaks lines; other handlers stay as they are."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, RichHandler)]:
        lines.setLevel(handler.level)
        root.removeHandler(handler)
        if lines not in root.handlers:
            root.addHandler(lines)
