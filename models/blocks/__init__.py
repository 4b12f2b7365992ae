"""YOLOv5's building blocks: convolutions, CSP blocks, pooling, ghost and transformer blocks."""
