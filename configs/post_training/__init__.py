"""Distillation papers."""
