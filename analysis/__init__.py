"""Studies of trained models: cost, comparison, pictures."""
