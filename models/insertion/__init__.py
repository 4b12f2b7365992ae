"""Attention inserted into a layer list: `insert`, the places it may go, overlays, and `python -m models.insertion`."""
