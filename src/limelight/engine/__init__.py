"""What runs a method: what it may ask for, its options, its passes, its record."""
