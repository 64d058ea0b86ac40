"""What a study tells beyond its front: what matters, which method wins, what more would buy."""
