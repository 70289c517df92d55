"""Maps that know nothing of the model: what every method has to beat."""
