"""What val.py does: predictions against labels, mAP, curves and pictures.

`run_validation.validate` is the script's door, `evaluate.evaluate` what training calls after an epoch.
"""
