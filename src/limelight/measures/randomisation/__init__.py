"""Does the map depend on what the model has learned?"""
