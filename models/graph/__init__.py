"""The graph of a layer list: channels and stride of every row, and the mistakes that only they show.

`checked.analyse` is the door: it checks, and says which row to write instead.
"""
