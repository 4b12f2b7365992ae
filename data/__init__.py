"""Data sets: labels, images, augmentation, loading, generation and conversion."""
