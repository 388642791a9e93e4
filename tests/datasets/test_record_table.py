from __future__ import annotations

from pathlib import Path

from topwork.core.results import Leaderboard, Row, Status
from topwork.datasets.record_table import RecordTableDataset


def test_a_leaderboard_is_shown_as_a_table_of_the_fields_that_were_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "leaderboard.json")
    shown = ["strategy", "accuracy", "shared_images"]
    dataset = RecordTableDataset(record="topwork.core.results.Leaderboard", filepath=path, shown=shown)
    scored = Row(strategy="svm", status=Status.OK, accuracy=2 / 3, shared_images=40)
    dataset.save(Leaderboard((scored, Row(strategy="lda", status=Status.NOT_RUN))))
    preview = dataset.preview()
    assert preview["columns"] == shown
    assert preview["data"] == [["svm", "0.667", "40"], ["lda", "", ""]]
