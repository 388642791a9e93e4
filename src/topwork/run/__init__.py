"""The `kedro run` command: checks of the options, the plan, records in MLflow, and terminal output."""
