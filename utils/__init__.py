"""YOLOv5's `utils` for scripts that import from it; with `models.experimental` and `models.common`, and nothing else.

Given, each under YOLOv5's name and with its arguments (the code is in `engine.yolov5_names` and `engine.inference`):

| from | names |
|---|---|
| `models.experimental` | `attempt_load` |
| `models.common` | `DetectMultiBackend`, `AutoShape`, `Detections`, and the blocks |
| `utils.general` | `non_max_suppression`, `scale_boxes`, `scale_coords`, `clip_boxes`, `clip_coords`, `xyxy2xywh`, `xywh2xyxy`, `xywhn2xyxy`, `xyxy2xywhn`, `check_img_size`, `check_imshow`, `check_requirements` (does nothing), `increment_path`, `make_divisible`, `print_args`, `Profile`, `LOGGER`, `cv2` |
| `utils.torch_utils` | `select_device`, `smart_inference_mode`, `time_sync` |
| `utils.dataloaders`, `utils.datasets` | `LoadImages`, `LoadScreenshots`, `LoadStreams`, `IMG_FORMATS`, `VID_FORMATS`, `letterbox` |
| `utils.augmentations` | `letterbox` |
| `utils.plots` | `Annotator`, `colors`, `save_one_box` |
| `utils.metrics` | `box_iou` |

Not given: training (`utils.loss`, `utils.autoanchor`, `utils.loggers`, `utils.callbacks`, `LoadImagesAndLabels`,
`create_dataloader`: train.py), metrics and their plots (val.py), downloads (`models.load_model` fetches stock weights),
what installs or changes files unasked (`strip_optimizer`: finished weights hold no optimiser), segmentation and
classification.
"""  # noqa: E501  (a table)

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def handing_on(module: str, sources: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that imports a name when it is asked for.

    Args:
        module: The module's own name, for errors.
        sources: From the module that holds them to names, apart by spaces; "." for the module itself.
    """
    places = {name: place for place, names in sources.items() for name in names.split()}

    def find(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
        if name not in places:
            raise AttributeError(f"{module!r} of this project has no {name!r}; `help(utils)` lists what there is")
        found = import_module(places[name])
        return found if places[name] == name else getattr(found, name)

    return find
