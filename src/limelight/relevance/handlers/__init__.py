"""Which calls of a network have a rule, and how each is recorded as an operation; one file per kind of call."""
