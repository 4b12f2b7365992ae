"""Images of every kind are read alike; letterboxing follows YOLOv5's rounding."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from data.boxes import convert_boxes
from data.dataset.label_scan import image_size
from data.images import FILL, ImageReadError, decode_image, letterbox, read_image, unletterbox, write_image


@pytest.fixture
def quarters() -> np.ndarray:
    """40 x 60 px: red, green / blue, dark."""
    image = np.full((40, 60, 3), 10, np.uint8)
    image[:20, :30], image[:20, 30:], image[20:, :30] = (240, 20, 20), (20, 240, 20), (20, 20, 240)
    return image


def grey_of(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_plain_images(tmp_path: Path, quarters: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"plain.{suffix}"
    Image.fromarray(quarters).save(path, quality=95)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - quarters).mean() < 5
    np.testing.assert_allclose(image[10, 10], (240, 20, 20), atol=12)  # red comes first
    assert image_size(str(path)) == (60, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_and_scanned(
    tmp_path: Path, quarters: np.ndarray, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(quarters).save(path, exif=exif, quality=95)
    with Image.open(path) as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved).convert("RGB"))
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 5
    assert image_size(str(path)) == image.shape[1::-1]


MODES = {"png": ["L", "LA", "P", "RGBA", "1"], "jpg": ["L", "CMYK", "YCbCr"], "tif": ["L", "P", "RGBA", "CMYK", "1"]}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_colour_modes(tmp_path: Path, quarters: np.ndarray, suffix: str, mode: str) -> None:
    picture = Image.fromarray(quarters).convert(mode)
    path = tmp_path / f"mode.{suffix}"
    picture.save(path, **({"quality": 95} if suffix == "jpg" else {}))
    expected = np.asarray(picture.convert("RGB"))
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 6


def test_transparency_keeps_the_colour_below(tmp_path: Path, quarters: np.ndarray) -> None:
    alpha = np.zeros((40, 60, 1), np.uint8)
    Image.fromarray(np.concatenate((quarters, alpha), 2)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png"), quarters)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_upper_half(tmp_path: Path, quarters: np.ndarray, suffix: str) -> None:
    grey = grey_of(quarters)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"deep.{suffix}"), grey[..., None].repeat(3, 2))


def test_floating_and_32_bit_samples(tmp_path: Path, quarters: np.ndarray) -> None:
    grey = grey_of(quarters)
    expected = grey[..., None].repeat(3, 2)
    for name, samples in (("f.tif", grey.astype(np.float32) / 255), ("i.tif", grey.astype(np.int32) * 257)):
        Image.fromarray(samples).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), expected)
    Image.fromarray(grey.astype(np.int32) * 10000).save(tmp_path / "far.tif")
    with pytest.raises(ImageReadError, match=r"far\.tif: samples span"):
        read_image(tmp_path / "far.tif")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "mpo"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, quarters: np.ndarray, suffix: str) -> None:
    first, second = Image.fromarray(quarters), Image.fromarray(255 - quarters)
    first.save(tmp_path / f"frames.{suffix}", save_all=True, append_images=[second])
    assert np.abs(read_image(tmp_path / f"frames.{suffix}").astype(int) - quarters).mean() < 8


def test_names_may_hold_any_character(tmp_path: Path, quarters: np.ndarray) -> None:
    path = tmp_path / "交通 标志 é ß #1.png"
    write_image(path, quarters)
    np.testing.assert_array_equal(read_image(path), quarters)
    np.testing.assert_array_equal(read_image(str(path)), quarters)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    path = tmp_path / f"half.{suffix}"
    Image.fromarray(noise).save(path)
    stream.write(path.read_bytes())
    path.write_bytes(stream.getvalue()[: stream.tell() // 2])
    with pytest.raises(ImageReadError, match=rf"half\.{suffix}"):
        read_image(path)
    if suffix in ("jpg", "png"):
        assert capfd.readouterr().err == ""  # no word of the decoder's on the terminal
    with pytest.raises(ImageReadError):
        image_size(str(path))


def test_a_jpeg_without_its_end_is_truncated(
    tmp_path: Path, quarters: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "endless.jpg"
    write_image(path, quarters)
    monkeypatch.setattr(cv2, "imdecode", lambda encoded, flags: quarters)  # as OpenCV 4 does with half an image
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ImageReadError, match=r"endless\.jpg: .*truncated"):
        read_image(path)


def test_a_jpeg_with_bytes_behind_its_end_is_fine(tmp_path: Path, quarters: np.ndarray) -> None:
    path = tmp_path / "tail.jpg"
    write_image(path, quarters)
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + b"camera notes")
    np.testing.assert_allclose(read_image(path).astype(int), whole.astype(int), atol=3)  # another decoder's rounding
    assert image_size(str(path)) == (60, 40)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=r"none\.jpg: "):
        read_image(path)
    with pytest.raises(ImageReadError):
        image_size(str(path))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"gone\.jpg: cannot be read: No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageReadError, match="cannot be read"):
        read_image(tmp_path)
    with pytest.raises(ImageReadError, match="frame 7: is no image"):
        decode_image(np.zeros(9, np.uint8), name="frame 7")


def test_writing_checks_its_arguments(tmp_path: Path, quarters: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Expected an \(H, W, 3\) uint8 image but got \(40, 60\)"):
        write_image(tmp_path / "a.png", quarters[..., 0])
    with pytest.raises(ValueError, match=r"Expected one of the suffixes .* but got '\.txt'"):
        write_image(tmp_path / "a.txt", quarters)
    write_image(tmp_path / "low.jpg", quarters, jpeg_quality=5)
    write_image(tmp_path / "high.jpg", quarters, jpeg_quality=95)
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size


def test_letterbox_by_hand() -> None:
    boxed = letterbox(np.zeros((100, 200, 3), np.uint8), 64)  # ratio 0.32: 64 x 32, 32 rows of padding
    assert boxed.image.shape == (64, 64, 3)
    assert boxed.ratio == pytest.approx(0.32)
    assert boxed.pad_xy_px == (0, 16)
    assert (boxed.image[:16] == FILL).all()
    assert (boxed.image[16:48] == 0).all()
    assert (boxed.image[48:] == FILL).all()


def test_letterbox_puts_the_odd_pixel_last() -> None:
    boxed = letterbox(np.zeros((10, 7, 3), np.uint8), 10)  # 3 columns: 1 left, 2 right; the border counts as 1.5
    assert boxed.pad_xy_px == (1.5, 0)
    assert (boxed.image[:, 0] == FILL).all()
    assert (boxed.image[:, 1:8] == 0).all()
    assert (boxed.image[:, 8:] == FILL).all()


def test_letterbox_options() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    assert letterbox(image, 640).image.shape == (640, 640, 3)  # 480 x 640, 160 rows of padding
    assert letterbox(image, 640, auto=True).image.shape == (480, 640, 3)  # 160 is a multiple of 32
    assert letterbox(image, 640, auto=True, stride=64).image.shape == (512, 640, 3)
    assert letterbox(image, (320, 640)).image.shape == (320, 640, 3)
    small = letterbox(image, 640, scale_up=False)
    assert small.ratio == 1
    assert small.pad_xy_px == (120, 170)
    assert letterbox(np.zeros((1, 1000, 3), np.uint8), 64).image.shape == (64, 64, 3)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_unletterbox_inverts_letterbox(as_tensor: bool) -> None:
    original_hw = (333, 517)
    boxed = letterbox(np.zeros((*original_hw, 3), np.uint8), 416)
    boxes = np.array([[3.0, 5.0, 500.0, 300.0], [0, 0, 517, 333]])
    placed = boxes * boxed.ratio + np.tile(boxed.pad_xy_px, 2)
    if as_tensor:
        placed = torch.from_numpy(placed)
    back = unletterbox(placed, original_hw, boxed.ratio, boxed.pad_xy_px)
    torch.testing.assert_close(torch.as_tensor(back), torch.from_numpy(boxes))


def test_unletterbox_clips_unless_told_not_to() -> None:
    box = np.array([[-10.0, 5.0, 999.0, 20.0]])
    np.testing.assert_array_equal(unletterbox(box, (50, 60), 1.0, (0, 0)), [[0, 5, 60, 20]])
    np.testing.assert_array_equal(unletterbox(box, (50, 60), 1.0, (0, 0), clip=False), box)


def test_a_box_follows_its_pixels_through_the_letterbox() -> None:
    image = np.zeros((120, 90, 3), np.uint8)
    image[30:70, 20:50] = 255
    boxed = letterbox(image, 256)
    ys, xs = np.nonzero(boxed.image[..., 0] > 180)
    seen = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], float)
    back = unletterbox(seen, (120, 90), boxed.ratio, boxed.pad_xy_px)
    np.testing.assert_allclose(convert_boxes(back, "xyxy_px", "cxcywh_px"), [[35, 50, 30, 40]], atol=0.6)
