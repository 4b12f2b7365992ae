"""What is wrong with a data set, before a night of training: findings with examples and remedies, a page and JSON.

`run_doctor` is the command line and `diagnose`, `brief` the lines that train.py prints; `checks` lists what is looked
for.
"""
