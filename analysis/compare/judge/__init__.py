"""From what runs left behind to verdicts: collected figures, intervals over seeds and images, corrected tests.

Reads files only; `statistics` and `image_bootstrap` are pure functions.
"""
