"""What a configuration costs, known before any training."""
