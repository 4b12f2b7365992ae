"""Checkpoints read as data, the original's among them, and their tensors carried into other models.

`checkpoint` reads and writes, `transfer` carries, `original_yolov5` reads the original's pickles without running them.
"""
