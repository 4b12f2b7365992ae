"""What train.py does: Lightning's loop with YOLOv5's recipe.

`run_training.train` is the door; `lightning_module` is the step, `callbacks` what happens around it.
"""
