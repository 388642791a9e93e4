"""The classifier as an MLflow model."""
