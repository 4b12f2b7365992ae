"""See `utils`."""

from utils import handing_on

_SOURCES = {
    "engine.yolov5_names.boxes": "non_max_suppression scale_boxes scale_coords clip_boxes clip_coords xyxy2xywh "
    "xywh2xyxy xywhn2xyxy xyxy2xywhn",
    "engine.yolov5_names.general": "check_img_size check_imshow check_requirements increment_path make_divisible "
    "print_args Profile LOGGER",
    "cv2": "cv2",
}
__getattr__ = handing_on(__name__, _SOURCES)
