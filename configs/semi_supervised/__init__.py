"""Semi-supervised papers."""
