"""Configs of continual learning."""
