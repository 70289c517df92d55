"""Relevance propagation: a network's calls are recorded once, and relevance goes back along them by a table of rules.

From the bottom up: an ``op`` is one call of the network, ``rule`` says what a rule is, ``simple_rules`` and
``affine_rules`` are rules, ``rules`` and ``composites`` tables of them. A ``recorder`` turns calls into operations by
their ``handlers`` and enters them in the ``graph``, along which ``propagation`` applies the rules. ``recording`` is the
whole pass. ``flows`` measures what happens to relevance on its way, ``audit`` keeps and reads it, and ``conservation``
says of one image where it went.
"""
