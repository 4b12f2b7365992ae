"""Archives and annotations that mean harm: one clear error, nothing written outside, no memory and no time eaten."""

import io
import json
import tarfile
import zipfile

import pytest

from data.convert.__main__ import main
from files import archive
from tests.data.convert.test_formats import coco, roboflow, text
from tests.support.voc_folders import picture, save


def zip_with(file, name, content=b"x", mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("data.yaml", "train: images\nnames: [a]\n")
        members.writestr(info, content)


def tar_with(file, name, kind=tarfile.REGTYPE, content=b"x", target=""):
    with tarfile.open(file, "w:gz") as members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(content) if kind == tarfile.REGTYPE else 0
        members.addfile(info, io.BytesIO(content))


def refused(source, tmp_path, capsys, message):
    """One line that says the message; nothing but the source is there afterwards."""
    before = {path for path in tmp_path.rglob("*") if ".inner" not in str(path)}
    assert main([str(source), "--out", str(tmp_path / "inner" / "out")]) == 2
    err = capsys.readouterr().err
    assert message in err, err
    assert err.count("\n") == 1
    left = {path for path in tmp_path.rglob("*")} - before
    assert left <= {tmp_path / "inner"}


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_members_that_climb_are_refused(name, tmp_path, capsys):
    zip_with(tmp_path / "set.zip", name)
    refused(tmp_path / "set.zip", tmp_path, capsys, "lies outside of it")
    tar_with(tmp_path / "set.tar.gz", name)
    refused(tmp_path / "set.tar.gz", tmp_path, capsys, "lies outside of it")


def test_links_and_devices_are_refused(tmp_path, capsys):
    zip_with(tmp_path / "set.zip", "images", b"/etc", 0o120777)
    refused(tmp_path / "set.zip", tmp_path, capsys, "'images' is a link")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        tar_with(tmp_path / "set.tar.gz", "images", kind, target="/etc")
        refused(tmp_path / "set.tar.gz", tmp_path, capsys, "'images' is a link or a device")


def test_bombs_are_refused_before_they_go_off(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(archive, "_UNPACKED_SPARE_BYTES", 1 << 16)
    zip_with(tmp_path / "set.zip", "big.txt", bytes(8 << 20))
    refused(tmp_path / "set.zip", tmp_path, capsys, "its members claim more than such a file can hold")
    tar_with(tmp_path / "set.tar.gz", "big.txt", content=bytes(8 << 20))
    refused(tmp_path / "set.tar.gz", tmp_path, capsys, "its members claim more than such a file can hold")


def test_what_is_no_archive_says_so(tmp_path, capsys):
    for name in ("set.zip", "set.tar.gz", "set.tar"):
        (tmp_path / name).write_bytes(b"no archive at all" * 50)
        refused(tmp_path / name, tmp_path, capsys, "cannot be read as an archive")
    whole = tmp_path / "whole.zip"
    zip_with(whole, "a.txt", b"abc" * 1000)
    (tmp_path / "half.zip").write_bytes(whole.read_bytes()[:-40])
    refused(tmp_path / "half.zip", tmp_path, capsys, "cannot be read as an archive")
    (tmp_path / "set.rar").write_bytes(b"Rar!")
    refused(tmp_path / "set.rar", tmp_path, capsys, "expected a folder, or an archive of .zip, .tar")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [{"id": NaN}], "annotations": []}', "NaN is no number"),
        ('{"images": [], "annotations": [{"bbox": [1, 2, Infinity, 3]}]}', "Infinity is no number"),
        ('{"images": [{"id": 1}', "cannot be read as JSON"),
        ('{"images": [{"id": 1} {"id": 2}]}', "expected ']' but got '{'"),
        ('{"images": [' + "[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_json_that_is_none_is_one_error(content, message, tmp_path, capsys):
    coco(tmp_path / "set")
    text(tmp_path / "set" / "annotations" / "instances_train2017.json", content)
    assert main(["coco", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "instances_train2017.json" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [None, "x", [1], {"id": []}, {"id": 99, "file_name": 5, "width": "a", "height": -1}])
def test_entries_of_other_kinds_are_left_out(wrong, tmp_path):
    coco(tmp_path / "set")
    file = tmp_path / "set" / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"].append(wrong)
    content["annotations"] += [wrong, {"image_id": [], "bbox": "abcd"}, {"image_id": 0, "bbox": [1, None, 2, 3]}]
    text(file, content)
    assert main(["coco", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0


def test_entity_bomb_in_cvat_is_one_error(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", picture(1))
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    bomb = (
        f'<!DOCTYPE annotations [<!ENTITY a0 "aaaaaaaaaa">{entities}]><annotations><image name="&a11;"/></annotations>'
    )
    text(tmp_path / "set" / "annotations.xml", bomb)
    refused(tmp_path / "set", tmp_path, capsys, "declares a document type")


def test_interrupted_archives_are_gone_on_with(tmp_path, monkeypatch):
    roboflow(tmp_path / "set")
    import shutil

    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    real = archive._write
    written = []

    def stop_after_two(stream, target):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(target)
        real(stream, target)

    monkeypatch.setattr(archive, "_write", stop_after_two)
    command = [str(tmp_path / "set.zip"), "--out", str(tmp_path / "out")]
    assert main(command) == 130
    monkeypatch.setattr(archive, "_write", lambda stream, target: (written.append(target), real(stream, target)))
    assert main(command) == 0
    assert len(written) == len(set(written))  # nothing was unpacked twice
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
