"""Worker processes, on this machine or in a cluster, that share out the work of a run.

`hired` makes the workers of a run known; `shared_out` gives them the parts of some work, and does again what a worker
lost when it died. Without workers, the library works in its own process, with threads.
"""

from topwork.workers.backends import BACKENDS, hired
from topwork.workers.crew import Crew, current_crew
from topwork.workers.fits import each_on_a_core, each_on_a_thread
from topwork.workers.launcher import follows, started_by_launcher
from topwork.workers.pinning import cores, is_worker
from topwork.workers.sharing import parts_for, shared_out

__all__ = [
    "BACKENDS",
    "Crew",
    "cores",
    "current_crew",
    "each_on_a_core",
    "each_on_a_thread",
    "follows",
    "hired",
    "is_worker",
    "parts_for",
    "shared_out",
    "started_by_launcher",
]
