"""Measurements behind the result pages: precision, transfer of weights, exported files, numerics, pictures."""
