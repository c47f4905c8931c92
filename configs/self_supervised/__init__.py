"""Self-supervised papers."""
