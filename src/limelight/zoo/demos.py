"""placeholder"""


def names():
    return []
