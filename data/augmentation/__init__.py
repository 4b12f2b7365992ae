"""Random changes of a training image and its boxes: mosaic, geometry, colour, and the albumentations list.

`augment` is the door; randomness comes from the generator that the caller hands in.
"""
