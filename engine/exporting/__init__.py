"""What export.py does: a network traced, written in other formats, and compared with its source.

`run_export.export` is the door.
"""
