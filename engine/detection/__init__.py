"""What detect.py does and the hub model gives: images in, boxes, pictures and label files out.

`run_detection.detect` is the script's door, `detector.load_model` Python's.
"""
