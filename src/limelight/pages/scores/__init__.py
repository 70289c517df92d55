"""The figures of a run of any size: what ``Results.summary`` says, without an object per row.

All methods, metrics and models that speak of the same number of images share the draws of a resampling, so
that a million rows take seconds. Beyond ``MANY_IMAGES`` a mean is normal for all that can be seen, and nothing is
drawn at all.
"""
