"""What comes out: explanations, and tables of numbers."""
