"""Is the map stable, short, and true at once?"""
