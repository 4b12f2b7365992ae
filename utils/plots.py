"""See `utils`."""

from utils import handing_on

__getattr__ = handing_on(__name__, {"engine.yolov5_names.pictures": "Annotator colors save_one_box"})
