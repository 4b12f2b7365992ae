"""Files as such: guarded YAML, bounded archives and literals, atomic writing, names and text of strangers.

The lowest room: it imports nothing of the project and nothing heavy, so that every other room may use it.
"""
