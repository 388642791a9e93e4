from __future__ import annotations

import logging

import pytest

from topwork.core.progress import Progress
from topwork.run.progress_view import ProgressHandler


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_progress_is_a_line_each_half_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    handler = ProgressHandler(clock)
    caplog.set_level("INFO")
    for done in range(0, 5000, 100):
        event = Progress("features", done, 5000, "images")
        handler.emit(logging.makeLogRecord({"progress": event}))
        clock.now += 1.0
    assert caplog.messages == ["features: 3,000 of 5,000 images, 100/s, 20 s left"]


@pytest.mark.parametrize(
    ("task", "told"),
    [("Finetune", ""), ("finetune, fold 0", "fold 0: "), ("choosing C", "choosing C: ")],
)
def test_progress_says_what_the_stage_does_without_its_name(
    task: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    handler = ProgressHandler(clock)
    handler.begin("finetune")
    caplog.set_level("INFO")
    for done in (0, 2):
        handler.emit(logging.makeLogRecord({"progress": Progress(task, done, 4, "models")}))
        clock.now += 40.0
    assert caplog.messages == [f"{told}2 of 4 models, 0.05/s, 40 s left"]
