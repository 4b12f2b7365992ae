"""What a comparison trains: its command line, the runs that a plan expands to, and the fingerprint of their data.

Nothing here trains or judges; the rooms above read `RunPlan`.
"""
