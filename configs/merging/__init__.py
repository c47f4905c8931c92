"""Model merging papers."""
