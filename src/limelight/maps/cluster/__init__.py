"""Class activation maps of groups of channels; one file per method."""
