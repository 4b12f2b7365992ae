"""From an image batch to boxes: networks of this project and exported files behind one interface, suppression, TTA.

`open_weights.open_network` opens any of them, `predictor` feeds it.
"""
