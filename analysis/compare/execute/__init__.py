"""Carrying out a plan: one folder a run, on this machine or on a Ray cluster, resumable after any interruption.

`run_folder` says what a run leaves behind; `measure` is the process that validates a finished run.
"""
