"""Drivers of the semi-supervised family."""
