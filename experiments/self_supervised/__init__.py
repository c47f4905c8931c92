"""Self-supervised experiments."""
