from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from data.convert.check_boxes import check_images, clean_boxes, turn_box
from data.convert.records import Notes, SourceBox, SourceImage
from tests.support.voc_folders import picture, save


def clean(*boxes, size=(64, 48)):
    notes = Notes()
    kept = clean_boxes([SourceBox("car", box) for box in boxes], size, Path("a.xml"), notes)
    return [box.xyxy_px for box in kept], [(note.kind, note.text) for note in notes.items]


def test_boxes_inside_pass_unchanged():
    assert clean((0.0, 0.0, 64.0, 48.0), (1.5, 2.5, 3.0, 4.0)) == ([(0.0, 0.0, 64.0, 48.0), (1.5, 2.5, 3.0, 4.0)], [])


def test_boxes_are_clipped_and_it_is_said():
    kept, notes = clean((-3.0, 10.0, 70.0, 50.0))
    assert kept == [(0.0, 10.0, 64.0, 48.0)]
    assert notes == [("clipped", "car (-3, 10, 70, 50) reaches outside the 64x48 picture")]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5.0, 5.0, 5.0, 9.0), "has no area"),
        ((9.0, 5.0, 5.0, 9.0), "has no area"),
        ((70.0, 5.0, 90.0, 9.0), "narrower than a pixel inside"),
        ((63.5, 5.0, 90.0, 9.0), "narrower than a pixel inside"),
    ],
)
def test_degenerate_boxes_are_dropped_and_it_is_said(box, reason):
    kept, notes = clean(box)
    assert kept == []
    assert notes[0][0] == "dropped"
    assert reason in notes[0][1]


def test_repeated_objects_are_dropped():
    kept, notes = clean((1.0, 2.0, 30.0, 40.0), (1.0, 2.0, 30.0, 40.0))
    assert len(kept) == 1
    assert "repeats" in notes[0][1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_picture(orientation):
    # Paint the box into a stored picture, let Pillow turn it upright, and find it again.
    stored = np.zeros((40, 60), dtype=np.uint8)
    box = (5, 8, 17, 30)
    stored[box[1] : box[3], box[0] : box[2]] = 255
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    rows, columns = np.nonzero(upright)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    turned = turn_box(SourceBox("car", box), orientation, (60, 40)).xyxy_px
    assert turned == (found if orientation in (1, 5, 6, 7, 8) else box)


def test_a_turned_picture_takes_its_boxes_along_if_they_were_drawn_on_the_stored_one(tmp_path):
    file = tmp_path / "one.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1, 60, 40)).save(file, exif=exif)
    drawn_on_stored = SourceImage(file, "one", (SourceBox("car", (5.0, 8.0, 17.0, 30.0)),), file, (60, 40))
    drawn_on_upright = SourceImage(file, "two", (SourceBox("car", (10.0, 5.0, 32.0, 17.0)),), file, (40, 60))
    notes = Notes()
    first, second = check_images([drawn_on_stored, drawn_on_upright], tmp_path, notes)
    assert (first.width_px, first.height_px) == (second.width_px, second.height_px) == (40, 60)
    # 90 degrees clockwise: x' = 40 - y, y' = x
    assert first.boxes == second.boxes == (SourceBox("car", (10.0, 5.0, 32.0, 17.0)),)
    assert [note.text for note in notes.items] == ["boxes turned with the picture (EXIF orientation 6)"]


def test_the_picture_decides_about_its_size(tmp_path):
    file = tmp_path / "one.png"
    save(file, picture(1))
    notes = Notes()
    (example,) = check_images([SourceImage(file, "one", (), file, (640, 480))], tmp_path, notes)
    assert (example.width_px, example.height_px) == (64, 48)
    assert notes.items[0].text == "says the picture is 640x480 but it is 64x48; the picture's own size is used"


def test_unreadable_pictures_are_left_out_by_name(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    save(good, picture(1))
    bad.write_bytes(good.read_bytes()[:40])
    notes = Notes()
    examples = check_images([SourceImage(file, file.stem, (), file) for file in (bad, good)], tmp_path, notes)
    assert [example.name for example in examples] == ["good"]
    assert notes.items[0][:2] == ("skipped", "bad.png")
