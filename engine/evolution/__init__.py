"""train.py --evolve: a search of hyper-parameters, and its report."""
