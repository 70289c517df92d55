"""Pass relevance back through any eager network, one rule per operation."""
