"""What runs a metric: what it may ask for, its options, its truth."""
