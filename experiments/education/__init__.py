"""Measurements of learning and of those who grade it."""
