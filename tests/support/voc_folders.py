"""Builds small Pascal VOC folders."""

from pathlib import Path

import cv2
import numpy as np


def picture(seed, width=64, height=48):
    """A picture whose difference hash is unlike that of any other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def save(path: Path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(path.suffix, rgb[..., ::-1])
    assert done
    path.write_bytes(encoded.tobytes())


def voc_object(label, box, extra=""):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{label}</name>{extra}<bndbox>{corners}</bndbox></object>"


def voc_xml(filename, objects="", size=(64, 48)):
    width, height = size
    return (
        f"<annotation><filename>{filename}</filename><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )


def add(folder: Path, stem, objects="", *, images="images", annotations="annotations", seed=None, **xml):
    """One picture and its annotation."""
    save(folder / images / f"{stem}.png", picture(abs(hash_of(stem)) if seed is None else seed))
    file = folder / annotations / f"{stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(voc_xml(xml.pop("filename", f"{stem}.png"), objects, **xml), encoding="utf-8")
    return file


def hash_of(text):
    """A number that, unlike hash(), is the same in every process."""
    return int.from_bytes(text.encode()[-6:], "big")
