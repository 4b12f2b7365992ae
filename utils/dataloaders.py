"""See `utils`."""

from utils import handing_on

_SOURCES = {
    "engine.yolov5_names.loaders": "LoadImages LoadScreenshots LoadStreams",
    "engine.yolov5_names.general": "IMG_FORMATS VID_FORMATS",
    "engine.yolov5_names.pictures": "letterbox",
}
__getattr__ = handing_on(__name__, _SOURCES)
