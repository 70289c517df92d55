"""Gradient-free class activation maps; one file per method."""
