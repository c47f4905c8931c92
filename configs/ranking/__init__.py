"""Learning to rank papers."""
