"""Runs of many models, methods and metrics over a data set, which can be stopped and go on."""
