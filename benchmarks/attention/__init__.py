"""Speed and memory of the attention modules beside their published forms, and their price in a training step."""
