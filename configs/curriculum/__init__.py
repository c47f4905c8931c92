"""Curriculum learning papers."""
