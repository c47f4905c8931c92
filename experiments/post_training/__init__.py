"""Drivers of post-training: policies that learn from verifiers and teachers."""
