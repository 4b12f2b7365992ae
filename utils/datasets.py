"""See `utils`; the name of `utils.dataloaders` before YOLOv5 6.2."""

from utils.dataloaders import __getattr__ as __getattr__
