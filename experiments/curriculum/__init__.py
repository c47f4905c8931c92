"""Curriculum learning experiments."""
