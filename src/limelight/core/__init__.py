"""The engine: models, targets, evidence, records."""
