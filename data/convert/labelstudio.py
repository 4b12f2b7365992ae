"""Label Studio's JSON and JSON-MIN exports: boxes in percent of the image, turned ones by the box around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.convert.records import Notes, SourceBox, SourceImage
from data.convert.shapes import around, size_of, turned
from data.convert.source import Source, label_of
from data.dataset.label_scan import image_size

SUMMARY = "Label Studio JSON or JSON-MIN"
OPTIONS = ()
_UPLOAD = re.compile(r"(?:^|/)[0-9a-f]{8}-([^/]+)$")  # what an upload puts before a name
_KEYS = re.compile(r'"(annotations|completions|predictions)"\s*:\s*\[|"rectanglelabels"|"polygonlabels"')


def detect(source: Source) -> str:
    """The file that shows the format, or nothing."""
    heads = source.heads(".json")
    return next((str(source.short(path)) for path, head in heads if head.startswith("[") and _KEYS.search(head)), "")


def read(source: Source, notes: Notes) -> Iterator[SourceImage]:
    """Read the tasks of every list of them below the folder; predictions are not labels and are left."""
    for file, tasks in source.json_files():
        if not isinstance(tasks, list):
            continue
        for number, task in enumerate(tasks, start=1):
            short = f"{source.short(file)}, task {task.get('id', number) if isinstance(task, dict) else number}"
            said, results = _task(task) if isinstance(task, dict) else ("", None)
            if results is None:
                notes.add("skipped", short, "has no annotation that was submitted")
                continue
            image, reason = _image(source, said, file)
            if image is None:
                notes.add("skipped", short, reason)
                continue
            sizes = (size_of(one.get("original_width"), one.get("original_height")) for one in results)
            size = next(filter(None, sizes), None)
            try:
                wh = size or image_size(str(image))
            except ValueError as error:
                notes.add("skipped", source.short(image), f"picture cannot be read: {error}")
                continue
            boxes = notes.boxes(short, (_box(result, wh) for result in results))
            yield SourceImage(image, source.name_of(image), boxes, file, size)


def _task(task: dict[str, Any]) -> tuple[str, list[Any] | None]:
    """The image that a task names and its results, those of the last annotation that was not cancelled."""
    data = task.get("data")
    if not isinstance(data, dict):  # JSON-MIN: the results under the name of the labelling tag
        named = task.get("image") or next((v for v in task.values() if isinstance(v, str) and "." in v), "")
        lists = [v for v in task.values() if isinstance(v, list) and v and isinstance(v[0], dict) and "x" in v[0]]
        return str(named), [{"value": one, **one} for one in (lists[0] if lists else [])]
    said = data.get("image") or next((v for v in data.values() if isinstance(v, str)), "")
    given = task.get("annotations", task.get("completions"))
    done = [one for one in given or [] if isinstance(one, dict) and not one.get("was_cancelled")]
    results = done[-1].get("result") if done else None
    return str(said), [r for r in results if isinstance(r, dict)] if isinstance(results, list) else None


def _image(source: Source, said: str, file: Path) -> tuple[Path | None, str]:
    image, reason = source.image(said, file)
    uploaded = _UPLOAD.search(said)
    return source.image(uploaded[1], file) if image is None and uploaded else (image, reason)


def _box(result: dict[str, Any], wh: tuple[int, int]) -> tuple[SourceBox | None, str]:
    value = result.get("value")
    value = value if isinstance(value, dict) else {}
    labels = value.get("rectanglelabels") or value.get("polygonlabels") or value.get("labels")
    label = label_of(labels[0]) if isinstance(labels, list) and labels else ""
    if not label:
        return None, f"a {result.get('type', 'result')} without a label of a rectangle or a polygon"
    width, height = wh[0] / 100, wh[1] / 100
    try:
        if "points" in value:
            return around(label, [(x * width, y * height) for x, y in value["points"]])
        x, y = value["x"] * width, value["y"] * height
        corners = (x, y, x + value["width"] * width, y + value["height"] * height)
        return around(label, turned(corners, value.get("rotation") or 0, (x, y)))
    except (KeyError, TypeError, ValueError):
        return None, f"{label} has no x, y, width and height in percent"
