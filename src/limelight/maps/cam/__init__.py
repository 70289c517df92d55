"""Class activation maps: f(activations, gradients) -> raw map. A is (n, k, h, w), G its gradient."""
