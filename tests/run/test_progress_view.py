from __future__ import annotations

import logging

import pytest

from topwork.core.progress import Progress
from topwork.run.progress_view import ProgressHandler, _told


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
    ("stage", "task", "told"),
    [
        ("Features", "features", "Features"),
        ("svm", "choosing C", "svm: choosing C"),
        ("finetune", "finetune, fold 0", "finetune, fold 0"),
    ],
)
def test_a_bar_says_the_stage_and_what_it_does(stage: str, task: str, told: str) -> None:
    assert _told(stage, task) == told
