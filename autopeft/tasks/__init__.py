"""What a configuration is judged on: task specs, data and metrics."""
