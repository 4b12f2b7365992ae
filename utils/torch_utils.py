"""See `utils`."""

from utils import handing_on

__getattr__ = handing_on(
    __name__,
    {"engine.yolov5_names.general": "select_device", "engine.yolov5_names.boxes": "smart_inference_mode time_sync"},
)
