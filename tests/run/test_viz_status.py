from __future__ import annotations

import json
from pathlib import Path

import pytest
from kedro.pipeline import Node
from kedro_viz.integrations.kedro.run_hooks import pipeline_run_hook

from topwork.run.viz_status import run_status

NODES = [Node(lambda: None, None, name, name=name) for name in ("first", "second")]


def test_kedro_viz_is_told_of_all_sessions_of_a_run_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'some'\n")
    monkeypatch.chdir(tmp_path)
    with run_status(NODES):
        for node in NODES:  # a session each
            pipeline_run_hook.before_pipeline_run({"node_names": [node.name]}, None)
            pipeline_run_hook.before_node_run(node)
            pipeline_run_hook.after_node_run(node)
            pipeline_run_hook.after_pipeline_run()
    events = json.loads((tmp_path / ".viz" / "kedro_pipeline_events.json").read_text())
    assert [each["node"] for each in events if each["event"] == "after_node_run"] == ["first", "second"]
    assert events[0]["event"] == "before_pipeline_run"

    pipeline_run_hook.after_node_run(NODES[0])  # of a session that no run holds
    assert len(pipeline_run_hook._events) == len(events)
