"""The metrics, one family per folder. Each is its equation; what it needs is passed in by name."""
