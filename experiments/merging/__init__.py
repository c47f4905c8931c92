"""Model merging experiments."""
