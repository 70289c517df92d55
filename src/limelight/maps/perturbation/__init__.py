"""Methods that look for the smallest mask that takes the score away."""
