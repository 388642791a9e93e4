"""The hooks that every run of this project has: one that shows it, one that records it."""

from topwork.run.display import Display
from topwork.run.tracking import RunTracking

display = Display()
tracking = RunTracking()
