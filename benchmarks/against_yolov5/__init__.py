"""This project and the original YOLOv5 in one run, turn by turn: training, detection, latency."""
