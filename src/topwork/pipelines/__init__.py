"""Kedro pipelines, one a folder; they meet only in the catalog."""
