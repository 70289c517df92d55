"""Methods that pass relevance back layer by layer; one file per method."""
