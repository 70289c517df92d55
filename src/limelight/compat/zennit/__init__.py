"""Relevance propagation under the names of the package zennit: ``attribution``, ``composites``, ``canonizers``."""
