"""What happens to the score when parts of the picture leave or come."""
