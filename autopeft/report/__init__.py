"""What the user sees: the front as table, figures and MLflow runs."""
