"""``limelight serve``: a page on this machine on which people play with a network.

One process answers the browser and imports no PyTorch; networks and decoders of pictures run in child processes, which
may fail, be stopped or be killed without it.
"""
