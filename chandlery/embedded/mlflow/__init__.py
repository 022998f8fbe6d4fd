"""The laptop's MLflow server."""
