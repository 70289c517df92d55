"""Methods that change regions of the picture; one file per method."""
