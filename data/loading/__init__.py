"""From labels to batches: samples, their order, decoded images in memory, and the loader that training uses."""
