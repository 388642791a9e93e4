from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from kedro.logging import RichHandler

from topwork.run.lines import Lines, take_over

LONG = "a message " * 20


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, Lines]]:
    """A logger that shows all its messages as lines, and their handler."""
    lines, logger = Lines(), logging.getLogger("test_lines")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(lines)
    yield logger, lines
    logger.removeHandler(lines)


def test_a_message_is_one_line_without_padding_however_long(
    log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]
) -> None:
    log[0].info(LONG)
    assert capsys.readouterr().out == LONG + "\n"


def test_the_last_message_of_a_stage_waits_for_its_end(
    log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, lines = log
    lines.stages.enter("Splitting")
    logger.info("11 pairs")
    logger.info("train 209")
    assert capsys.readouterr().out == "Splitting: 11 pairs\n"
    lines.finish()
    assert capsys.readouterr().out == "Splitting: train 209\n"


def test_a_stage_of_more_than_a_second_says_how_long_it_took(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("topwork.run.lines"), "propagate", False)  # Kedro's handler may be there
    lines = Lines()
    lines.stages._ended("Features", 14.2)
    lines.stages._ended("Advice", 0.9)
    assert capsys.readouterr().out == "Features: 14 s\n"


def test_progress_is_told_at_once(log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]) -> None:
    logger, lines = log
    lines.stages.enter("Features")
    logger.info("8 are new")
    logger.info("50 of 100 images", extra={"now": True})
    assert capsys.readouterr().out == "Features: 8 are new\nFeatures: 50 of 100 images\n"


def test_a_warning_is_told_once_a_run_after_what_waits(
    log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, lines = log
    lines.stages.enter("Splitting")
    logger.info("11 pairs")
    for _ in range(2):
        logger.warning("labels are few")
    assert capsys.readouterr().out == "Splitting: 11 pairs\nWarning: labels are few\n"
    lines.finish()
    logger.warning("labels are few")
    assert capsys.readouterr().out == "Warning: labels are few\n"


def test_commands_to_the_terminal_in_a_name_are_shown_as_text(
    log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]
) -> None:
    log[0].info("class \x1b[31mred[bold]")
    assert capsys.readouterr().out == "class \\x1b[31mred[bold]\n"


def test_an_error_keeps_its_traceback(log: tuple[logging.Logger, Lines], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("no such thing")
    except ValueError as error:
        log[0].error("svm failed", exc_info=error)
    shown = capsys.readouterr().out
    assert shown.startswith("Error: svm failed\nTraceback")
    assert shown.rstrip().endswith("ValueError: no such thing")


def test_lines_replace_kedros_handler_and_no_other() -> None:
    root, lines, other = logging.getLogger(), Lines(), logging.NullHandler()
    before = root.handlers[:]
    try:
        root.handlers = [RichHandler(), other]
        take_over(lines)
        take_over(lines)
        assert root.handlers == [other, lines]
    finally:
        root.handlers = before
