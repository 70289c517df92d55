"""Methods that differentiate down to the pixels; one file per method."""
