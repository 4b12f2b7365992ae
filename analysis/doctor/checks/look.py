"""How images look: too dark, too bright, blurred, nothing on them.

Judged by cleanvision (github cleanlab/cleanvision) where it is installed; else by the brightness and the edges of
`analysis.doctor.pictures`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from analysis.doctor.evidence import Evidence
from analysis.doctor.finding import NOTHING, WARNING, Case, Check, Found, check, found_in
from analysis.doctor.pictures import Pixels

DARK, BRIGHT = 0.12, 0.85  # brightness that 99 % of the pixels are below, or above
BLANK = 0.03  # range of brightness of 98 % of the pixels
SHARP = 0.1  # edges, see Pixels.sharpness


def is_dark(pixels: Pixels) -> bool:
    """Whether nearly nothing is lit."""
    return not is_blank(pixels) and pixels.light < DARK


def is_bright(pixels: Pixels) -> bool:
    """Whether nearly everything is overexposed."""
    return not is_blank(pixels) and pixels.dark > BRIGHT


def is_blank(pixels: Pixels) -> bool:
    """Whether all is of one brightness."""
    return pixels.light - pixels.dark < BLANK


def is_blurred(pixels: Pixels) -> bool:
    """Whether there are nearly no edges."""
    return not is_blank(pixels) and pixels.sharpness < SHARP


def _look(name: str, title: str, remedy: str, theirs: str, ours: Callable[[Pixels], bool]) -> Check:
    """A check by cleanvision's measure of a name where that package is, else by our own."""

    @check(name, WARNING, title, remedy)
    def look(evidence: Evidence) -> Found:
        if evidence.pictures is None:
            return NOTHING
        if evidence.cleanvision is not None:
            return found_in(Case(path, "by cleanvision") for path in evidence.cleanvision.get(theirs, []))
        return found_in(
            Case(path, _measured(picture.pixels))
            for split in evidence.splits
            for path, picture in zip(split.images, evidence.pictures[split.name], strict=True)
            if picture.pixels is not None and ours(picture.pixels)
        )

    return look


def _measured(pixels: Pixels) -> str:
    return f"brightness {pixels.dark:.2f} to {pixels.light:.2f}, sharpness {pixels.sharpness:.3f}"


_DELETE = "Delete it, or leave it as it is if the camera gives such images in use too."
dark = _look("dark-image", "Very dark images", _DELETE, "dark", is_dark)
bright = _look("bright-image", "Overexposed images", _DELETE, "light", is_bright)
blurred = _look("blurred-image", "Blurred images", _DELETE, "blurry", is_blurred)
blank = _look("blank-image", "Images with nothing on them", "Delete them.", "low_information", is_blank)


def by_cleanvision(evidence: Evidence) -> dict[str, list[str]] | None:
    """From cleanvision's name of an issue to the images that have it; None where the package is not installed."""
    if find_spec("cleanvision") is None:
        return None
    from cleanvision import Imagelab  # pyright: ignore[reportMissingImports]

    readable = [
        path
        for split in evidence.splits
        for path, state in zip(split.images, split.states, strict=True)
        if state != "corrupt"
    ]
    names = ("dark", "light", "blurry", "low_information")
    lab = Imagelab(filepaths=readable)
    lab.find_issues({name: {} for name in names}, n_jobs=1, verbose=False)  # its processes would hear our signals
    issues = lab.issues
    return {name: [str(path) for path in issues.index[issues[f"is_{name}_issue"]]] for name in names}
