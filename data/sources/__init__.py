"""Where images to detect come from: files, folders, lists, videos, streams, the screen and the web.

`open_source` is the door; every source yields `frame.Frame`.
"""
