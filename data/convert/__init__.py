"""Other forms of labels to YOLO layout and back: `python -m data.convert [FORMAT] SOURCE --out FOLDER`.

A format is one module with SUMMARY, OPTIONS, `add_arguments(group)` where it has options, `detect(source)` and
`read(source, notes, **options)`, which yields a `SourceImage` for each image, listed in `__main__.FORMATS`; unpacking,
choosing classes, opening the pictures, cleaning boxes, splitting and writing are the same for all of them.
"""
