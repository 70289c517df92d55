"""Does the map lie where the object is?"""
