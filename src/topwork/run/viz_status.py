"""Sets the run status for kedro-viz, which is otherwise empty for a run with several sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from kedro.pipeline.node import Node


@contextmanager
def run_status(nodes: Sequence[Node]) -> Iterator[None]:
    """A context in which kedro-viz's hook collects the events of all sessions as one run of these nodes.

    By default, the hook collects nothing in a session that runs only some nodes. The fields set here are private fields
    of the hook (`tests/run/test_viz_status.py` fails if they change).
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
