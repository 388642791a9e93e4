"""The hooks that every run of this project has: one that shows it, one that records it."""

from topwork.display import Display
from topwork.tracking import RunTracking

display = Display()
tracking = RunTracking()
