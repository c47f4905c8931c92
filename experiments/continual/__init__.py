"""Drivers of continual learning."""
