"""The demonstration: small embedded networks, explained on scenes whose truth is known by construction."""
