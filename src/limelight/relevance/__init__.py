"""Relevance propagation: recorded passes, operations, rules, and the accounts of what they conserve."""
