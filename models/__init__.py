"""Model architecture, weights and loss."""
