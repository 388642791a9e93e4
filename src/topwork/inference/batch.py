"""A classifier's answers for any number of files, one row per file, in the order of their names."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from topwork.core.classifier import AnyClassifier, in_words
from topwork.core.columns import ANSWER_COLUMNS, OK, REJECTED, STAMP_COLUMNS
from topwork.core.progress import report_progress
from topwork.core.stores import ImageStore
from topwork.core.words import counted
from topwork.data.manifest import new_since
from topwork.images.batches import map_batches
from topwork.images.decode import DECODER
from topwork.workers import cores

if TYPE_CHECKING:
    from topwork.inference.predictor import Predictor

_CHUNK = 1024  # files per chunk: a kill loses at most the current chunk
_TASK = "predicting"
_log = logging.getLogger(__name__)


def answer_new(
    images: ImageStore, answered: pd.DataFrame, classifier: AnyClassifier, model: str, max_pixels: int, max_bytes: int
) -> Iterator[pd.DataFrame]:
    """Chunks of answers (columns ``ANSWER_COLUMNS``) for the files that are new or changed since ``answered``.

    A file that is not a usable image has a row with the reason. ``model`` names the classifier: for another name all
    files are answered again.
    """
    listing = stamped(images.listing, model, max_pixels, max_bytes)
    new = new_since(listing, answered)
    before = len(listing) - len(new)
    _log.info("%s answers for %s; %d answered before", in_words(classifier), counted(len(new), "new file"), before)
    if new.empty:
        return
    from topwork.inference.predictor import Predictor  # PyTorch, for which nobody waits if there is nothing to answer

    predictor = Predictor.of(classifier)

    def look(places: Sequence[int]) -> pd.DataFrame:
        rows = new.iloc[places[0] : places[-1] + 1].to_dict("records")
        return _answers(rows, images, predictor, max_pixels, max_bytes)

    threads = cores() + (predictor.streams < cores())
    report_progress(_TASK, 0, len(new), "files")
    done, kept = 0, list[pd.DataFrame]()
    for batch, answers in map_batches(look, range(len(new)), predictor.batch_size, threads):
        done += len(batch)
        kept.append(answers)
        report_progress(_TASK, done, len(new), "files")
        if sum(map(len, kept)) >= _CHUNK or done == len(new):
            yield pd.concat(kept, ignore_index=True)
            kept = []


def stamped(listing: pd.DataFrame, model: str, max_pixels: int, max_bytes: int) -> pd.DataFrame:
    """The listing with a column ``rules``: the model, the decoder and the limits, on which an answer depends."""
    return listing.assign(rules=f"{model}, {DECODER}, at most {max_pixels} pixels, {max_bytes} bytes")


def _answers(
    rows: Sequence[dict[Hashable, Any]], images: ImageStore, predictor: Predictor, max_pixels: int, max_bytes: int
) -> pd.DataFrame:
    contents = [_content(row, images, max_bytes) for row in rows]
    readable = [place for place, (content, _) in enumerate(contents) if content]
    found = predictor.answer([contents[place][0] for place in readable], max_pixels)
    reasons = [reason for _, reason in contents]
    probabilities = np.full((len(rows), found.probabilities.shape[1]), np.nan)
    distances = np.full(len(rows), np.nan)
    probabilities[readable], distances[readable] = found.probabilities, found.distances
    for place, reason in zip(readable, found.reasons, strict=True):
        reasons[place] = reason
    table = pd.DataFrame(rows)[list(STAMP_COLUMNS)]
    return table.assign(
        status=[REJECTED if reason else OK for reason in reasons],
        reason=reasons,
        distance=distances,
        probabilities=list(probabilities.astype(np.float32)),
    )[list(ANSWER_COLUMNS)]


def _content(row: dict[Hashable, Any], images: ImageStore, max_bytes: int) -> tuple[bytes, str]:
    """The bytes of a file and no reason, or no bytes and the reason."""
    if row["error"]:
        return b"", row["error"]
    if row["size"] > max_bytes:
        return b"", f"too many bytes ({row['size']:,}, limit {max_bytes:,})"
    try:
        content = images[row["image_id"]]
    except FileNotFoundError:
        return b"", "file not found"  # it was there when the folder was listed
    except OSError as failure:
        return b"", f"unreadable ({failure.strerror})"
    return content, "" if content else "empty file"
