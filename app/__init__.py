"""The page in the browser: `python app.py`. It shows and asks; engine, models and analysis do.

`command_line.py` reads the flags and `server.py` starts; a tab is a file with `build(page)`, and gets by `page.py` what
all tabs share: the words of its language, the folders that may be reached, and the models.
"""
