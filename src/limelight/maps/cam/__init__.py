"""Class activation maps: f(activations, gradients) -> raw map. A is (n, k, *place), G its gradient."""
