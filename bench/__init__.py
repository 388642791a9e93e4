"""Topwork against its rivals and against the machine's limits: bench/README.md."""
