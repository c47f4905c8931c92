"""Distillation experiments."""
