"""The command lines: argv to a frozen, checked configuration. Imports neither torch nor OpenCV.

`parser` holds what the scripts share; each `*_config` is what one script does.
"""
