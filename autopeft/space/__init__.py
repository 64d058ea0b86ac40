"""What may be chosen: configurations, hyperparameters and search spaces. Pure Python."""
