"""Learning to rank experiments."""
