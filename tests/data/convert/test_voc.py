import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from data.convert import voc
from data.convert.__main__ import main
from data.convert.records import Notes, SourceBox
from data.convert.source import Source
from data.convert.xml_file import parse_xml
from tests.support.voc_folders import add, picture, save, voc_object, voc_xml

CAR = voc_object("car", (1, 2, 30, 40))


def read(folder, **options):
    notes = Notes()
    return sorted(voc.read(Source(folder), notes, **options), key=lambda one: one.name), notes


@pytest.mark.parametrize(
    "places", [("images", "annotations"), ("JPEGImages", "Annotations"), (".", "."), ("a/images", "a/xmls")]
)
def test_every_published_layout_is_found(tmp_path, places):
    add(tmp_path, "one", CAR, images=places[0], annotations=places[1])
    sources, notes = read(tmp_path)
    assert [source.boxes for source in sources] == [(SourceBox("car", (1.0, 2.0, 30.0, 40.0)),)]
    assert sources[0].name == ("a/one" if "a/" in places[0] else "one")
    assert sources[0].declared_wh == (64, 48)
    assert notes.items == []


def test_non_ascii_names_pair_whatever_their_normalisation(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Straße é 限速") for form in ("NFC", "NFD"))
    assert composed != decomposed
    save(tmp_path / "images" / f"{composed}.png", picture(1))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / f"{decomposed}.xml").write_text(
        voc_xml(f"{decomposed}.png", voc_object("限速60", (0, 0, 9, 9))), encoding="utf-8"
    )
    sources, notes = read(tmp_path)
    assert sources[0].boxes[0].label == "限速60"
    assert notes.items == []


def test_wrong_filename_is_paired_by_stem_and_noted(tmp_path):
    add(tmp_path, "one", CAR, filename="C:\\Users\\me\\other.png")
    add(tmp_path, "other", CAR)
    sources, notes = read(tmp_path)
    assert [source.image.stem for source in sources] == ["one", "other"]
    assert [(note.kind, note.file) for note in notes.items] == [("remark", "annotations/one.xml")]


def test_filename_helps_where_the_stem_does_not(tmp_path):
    save(tmp_path / "images" / "real.png", picture(1))
    (tmp_path / "x.xml").write_text(voc_xml("real.png", CAR))
    sources, notes = read(tmp_path)
    assert sources[0].image.name == "real.png"
    assert "no image is called x" in notes.items[0].text


def test_same_stem_in_two_folders_pairs_by_place(tmp_path):
    for sub, x in (("day", 1), ("night", 5)):
        add(
            tmp_path, "one", voc_object("car", (x, 2, 30, 40)), images=f"images/{sub}", annotations=f"annotations/{sub}"
        )
    sources, notes = read(tmp_path)
    assert [(source.name, source.boxes[0].xyxy_px[0]) for source in sources] == [("day/one", 1.0), ("night/one", 5.0)]
    assert notes.items == []


def test_an_image_that_cannot_be_told_from_another_is_skipped(tmp_path):
    add(tmp_path, "one", CAR, filename="one.bmp")
    save(tmp_path / "images" / "one.jpg", picture(2))
    sources, notes = read(tmp_path)
    assert sources == []
    assert "several images fit" in notes.items[0].text


def test_images_without_annotation_are_reported_or_background(tmp_path):
    add(tmp_path, "one", CAR)
    save(tmp_path / "images" / "bare.png", picture(3))
    for flags, stems in ([], {"one"}), (["--keep-unlabelled"], {"one", "bare"}):
        out = tmp_path.with_name(f"out{len(flags)}")
        assert main([str(tmp_path), "--out", str(out), "--split", "1,0", *flags]) == 0
        assert {path.stem for path in (out / "labels").rglob("*.txt")} == stems
        text = "1 images that no annotation names, e.g. images/bare.png (--keep-unlabelled keeps them as background)"
        assert (text in (out / "report.md").read_text()) is not bool(flags)


def test_difficult_objects_are_kept_only_on_request(tmp_path):
    add(tmp_path, "one", CAR + voc_object("car", (5, 5, 9, 9), "<difficult>1</difficult>"))
    sources, notes = read(tmp_path)
    assert len(sources[0].boxes) == 1
    assert "object 2: car is marked difficult" in notes.items[0].text
    assert len(read(tmp_path, keep_difficult=True)[0][0].boxes) == 2


def test_one_based_corners(tmp_path):
    # Pixels 1..64 by 1..48 are the whole picture: x from 0 to 64, y from 0 to 48.
    add(tmp_path, "one", voc_object("car", (1, 1, 64, 48)))
    assert read(tmp_path, one_based=True)[0][0].boxes[0].xyxy_px == (0.0, 0.0, 64.0, 48.0)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("<object><name>car</name></object>", "car has no <bndbox>"),
        ("<object><bndbox/></object>", "it has no <name>"),
        (voc_object("car", (1, "two", 3, 4)), "expected four numbers"),
        (voc_object("car", (1, 2, "nan", 4)), "expected finite numbers"),
        ("<object><name>car</name><bndbox><xmin>1</xmin></bndbox></object>", "expected four numbers"),
    ],
)
def test_broken_objects_are_dropped_with_the_reason(tmp_path, broken, reason):
    add(tmp_path, "one", broken + CAR)
    sources, notes = read(tmp_path)
    assert len(sources[0].boxes) == 1
    assert notes.items[0].kind == "dropped"
    assert notes.items[0].text.startswith("object 1: ")
    assert reason in notes.items[0].text


def test_parts_of_an_object_are_not_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>"
    add(tmp_path, "one", voc_object("person", (1, 2, 30, 40), part))
    assert read(tmp_path)[0][0].boxes == (SourceBox("person", (1.0, 2.0, 30.0, 40.0)),)


def test_entity_bomb_is_refused_at_once(tmp_path):
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    file = add(tmp_path, "bomb")
    file.write_text(
        f'<!DOCTYPE annotation [<!ENTITY a0 "aaaaaaaaaa">{entities}]>' + voc_xml("bomb.png", "<object>&a11;</object>")
    )
    add(tmp_path, "good", CAR)
    start = time.perf_counter()
    sources, notes = read(tmp_path)
    assert time.perf_counter() - start < 2
    assert [source.name for source in sources] == ["good"]
    assert "declares a document type" in next(note.text for note in notes.items if "bomb.xml" in note.file)


def test_external_entity_is_never_read(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    file = add(tmp_path, "one")
    body = voc_xml("one.png", voc_object("&x;", (1, 2, 3, 4)))
    for encoding in ("utf-8", "utf-16"):
        head = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
        file.write_bytes((head + body).encode(encoding))
        with pytest.raises(ValueError, match="document type") as caught:
            parse_xml(file, "annotation")
        assert "the secret" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gbk", "latin-1"])
def test_declared_encodings_are_followed(tmp_path, encoding):
    label = "Straße" if encoding == "latin-1" else "停车"
    file = tmp_path / "one.xml"
    declared = encoding.removesuffix("-sig")
    file.write_bytes(f'<?xml version="1.0" encoding="{declared}"?><annotation>{label}</annotation>'.encode(encoding))
    assert parse_xml(file, "annotation").text == label


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not well-formed"),
        (b"<annotation>", "not well-formed"),
        (b'<?xml version="1.0" encoding="no-such-code"?><a/>', "declared encoding"),
        (b'<?xml version="1.0" encoding="gbk"?><a>\xff\xff\xff</a>', "declared encoding"),
    ],
)
def test_what_is_no_xml_says_so(tmp_path, content, message):
    file = tmp_path / "one.xml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        parse_xml(file, "annotation")


def test_other_xml_is_skipped(tmp_path):
    add(tmp_path, "one", CAR)
    (tmp_path / "pom.xml").write_text("<project/>")
    sources, notes = read(tmp_path)
    assert len(sources) == 1
    assert "<project>" in notes.items[0].text


def test_image_sets_give_the_split(tmp_path):
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for stem in ("a", "b", "c"):
        add(tmp_path, stem, CAR, images="JPEGImages", annotations="Annotations")
    (lists / "train.txt").write_text("a\n")
    with pytest.raises(ValueError, match=r"train\.txt and val\.txt"):
        read(tmp_path, image_sets=True)
    (lists / "val.txt").write_text("b 1\n\n")
    sources, notes = read(tmp_path, image_sets=True)
    assert [(source.name, source.split) for source in sources] == [("a", "train"), ("b", "val"), ("c", None)]
    assert notes.items == []
    (lists / "val.txt").write_text("b\na\n")
    with pytest.raises(ValueError, match=r"val\.txt: a is listed for train too"):
        read(tmp_path, image_sets=True)


@pytest.mark.parametrize(("present", "message"), [("one.png", "no .xml annotations"), ("one.xml", "no images")])
def test_a_folder_with_half_of_a_set_says_what_is_missing(tmp_path, present, message, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / present).write_bytes(b"x")
    assert main(["voc", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_real_sample(shared):
    sources, notes = read(shared / "data" / "roadsign_voc_sample")
    assert len(sources) == 12
    assert notes.items == []
    by_name = {source.name: source for source in sources}
    assert by_name["road102"].boxes == (SourceBox("speedlimit", (37.0, 38.0, 243.0, 245.0)),)
    assert by_name["road0"].declared_wh == (267, 400)
    with Image.open(by_name["road0"].image) as image:
        assert np.asarray(image).ndim == 3
