"""Post-training papers."""
