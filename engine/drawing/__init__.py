"""Boxes and their names drawn on images."""
