"""compare.py: a matrix of training runs, what their differences mean, and a report."""
