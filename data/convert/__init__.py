"""Other annotation formats to YOLO layout: `python -m data.convert voc FOLDER --out FOLDER`.

A format is one module with SUMMARY, OPTIONS, `add_arguments(group)` and `read(folder, notes, **options)`, listed in
`__main__.FORMATS`; opening the pictures, cleaning boxes, splitting and writing are the same for all of them.
"""
