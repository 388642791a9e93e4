"""The first screen of a report in sentences: what was learnt, how sure that is, what it costs, what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from topwork.core.results import ALREADY, Advice, Champion, Evidence, Leaderboard, Row
from topwork.core.words import counted

PROMOTE = "comparison.promote=always"
_WIDE = 0.1  # width of an interval that is worth a remark
_SIGNIFICANT = 0.05  # of corrected p-values


def learnt(row: Row, tested: int, classes: int, most_frequent: float) -> str:
    """What the champion can do: its test accuracy beside that of always answering one class.

    Args:
        row: the champion's row of the leaderboard.
        tested: number of test images.
        classes: number of classes.
        most_frequent: share of the test images that are of their most frequent class.

    """
    accuracy = row.accuracy or 0.0
    return (
        f"{row.name} tells {classes} classes apart: of {counted(tested, 'image')} that it had never seen, it names the "
        f"right class for {round(accuracy * tested):,}, which are {_percent(accuracy)}. Always answering the most "
        f"frequent class would be right for {_percent(most_frequent)}."
    )


def how_sure(row: Row, tested: int) -> str:
    """The interval of the test accuracy, as numbers of new images."""
    low, high = row.accuracy_low or 0.0, row.accuracy_high or 0.0
    told = (
        f"Of 1,000 new images like these, expect {round(1000 * low):,} to {round(1000 * high):,} right (95 % interval: "
        f"{_percent(low)} to {_percent(high)})."
    )
    if high - low > _WIDE:
        told += (
            f" This range is wide because only {counted(tested, 'image')} tested it; four times as many would halve it."
        )
    return told


def differences(leaderboard: Leaderboard) -> str:
    """Which strategies differ from the best one by more than luck, in words; empty if there is only one."""
    compared = [row for row in leaderboard.rows if row.p_adjusted is not None]
    if not compared:
        return ""
    best = leaderboard.rows[0].name
    worse = [row.name for row in compared if (row.p_adjusted or 0.0) < _SIGNIFICANT]
    equal = [row.name for row in compared if row.name not in worse]
    told = [f"Not shown to differ from {best}: {', '.join(equal)}."] if equal else []
    told += [f"Worse than {best} by more than luck: {', '.join(worse)}."] if worse else []
    return " ".join(told)


def cost(row: Row) -> str:
    """Seconds and megabytes of the champion, as far as they were measured."""
    parts = []
    if row.seconds_per_thousand is not None:
        parts.append(f"{_seconds(row.seconds_per_thousand)} for 1,000 images on the machine of this run")
    if row.megabytes is not None:
        parts.append(f"{row.megabytes:.1f} MB on disk")
    if row.seconds:
        parts.append(f"trained in {_seconds(row.seconds)}, once the features were computed")
    return f"{'; '.join(parts)}." if parts else "Not measured."


def next_steps(
    champion: Champion, advice: Advice, leaderboard: Leaderboard, rejected: int, doubtful: int
) -> Iterator[str]:
    """What is worth doing now, the most useful first.

    Args:
        champion: the strategy to use.
        advice: advice given before training.
        leaderboard: comparison of the strategies.
        rejected: number of files that could not be used.
        doubtful: number of labels that predictions contradict.

    """
    yield _serve(champion)
    yield from (f"Beware: {uneven}." for uneven in champion.uneven)
    if doubtful:
        yield f"Look at {counted(doubtful, 'label')} that may be wrong (below). Corrected labels help every later run."
    if rejected:
        yield f"Look at {counted(rejected, 'file')} that could not be used (below)."
    for name, value in advice.settings.items():
        yield f"Try `{name}={value}`."
    for row in leaderboard.rows:
        if row.more_minutes and not row.earlier and row.strategy not in advice.ruled_out:
            yield row.more_time
    yield from _more_images(advice.evidence)


def _serve(champion: Champion) -> str:
    if champion.promoted:
        return f"Use it: `make serve` serves this model now ({champion.promotion})."
    if champion.promotion == ALREADY:
        return "Use it: `make serve` serves this model already."
    stays = f"version {champion.against} as before" if champion.against else "no model yet"
    return f"`make serve` serves {stays}, not this one: {champion.promotion}. `{PROMOTE}` lets it serve this one."


def _more_images(evidence: Evidence) -> Iterator[str]:
    """What twice as many images would bring, if that is known."""
    if len(evidence.forecast) > 1:
        now, then = evidence.forecast[:2]
        sure = f"95 % interval: {_percent(then.low)} to {_percent(then.high)}"
        yield (
            f"More images: with {then.images:,} to learn from in place of {now.images:,}, a quick linear classifier "
            f"would come from {_percent(now.accuracy)} to about {_percent(then.accuracy)} ({sure})."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
