"""What to try next and when to stop: objectives, the front, fidelity, strategies, the loop."""
