"""kedro-viz's view of the last run, which it leaves empty where a run has several sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from kedro.pipeline.node import Node


@contextmanager
def run_status(nodes: Sequence[Node]) -> Iterator[None]:
    """Have kedro-viz's hook collect what all sessions inside do, as one run of these nodes.

    The hook would collect nothing in a session of some nodes; the fields set here are its own
    (`tests/run/test_viz_status.py` says so if they change).
    """
    from kedro_viz.integrations.kedro.run_hooks import pipeline_run_hook as hook

    hook._events.clear()
    hook._started_nodes.clear()
    hook._all_nodes = list(nodes)
    hook._add_event({"event": "before_pipeline_run", "timestamp": datetime.now(UTC).isoformat()})
    hook._should_collect_events = True
    try:
        yield
    finally:
        hook._should_collect_events = False
