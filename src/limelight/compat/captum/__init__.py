"""Attributions under the names of the package captum: ``attr``."""
