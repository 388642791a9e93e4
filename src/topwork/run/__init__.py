"""`kedro run`: from options to a plan, its record in MLflow, and what the terminal shows."""
