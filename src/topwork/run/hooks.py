"""The hooks of every run of this project: terminal output and records in MLflow."""

from topwork.run.display import Display
from topwork.run.tracking import RunTracking

display = Display()
tracking = RunTracking()
