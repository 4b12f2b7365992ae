"""A layer list as data: rows with absolute indices, frozen, read from a mapping without evaluating anything.

Imports no torch.
"""
