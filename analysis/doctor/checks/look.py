"""How images look: too dark, too bright, blurred, nothing on them.

Judged by cleanvision (github cleanlab/cleanvision) where it is installed; else by the brightness and the edges of
`analysis.doctor.pictures`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from analysis.doctor.evidence import Evidence
from analysis.doctor.finding import NOTHING, WARNING, Case, Check, Found, check, found_in
from analysis.doctor.pictures import Picture

DARK, BRIGHT = 0.12, 0.85  # brightness that 99 % of the pixels are below, or above
BLANK = 0.03  # range of brightness of 98 % of the pixels
SHARP = 0.1  # edges, see Picture.sharpness


def is_dark(picture: Picture) -> bool:
    """Whether nearly nothing is lit."""
    return picture.brightness is not None and not is_blank(picture) and picture.brightness[2] < DARK


def is_bright(picture: Picture) -> bool:
    """Whether nearly everything is overexposed."""
    return picture.brightness is not None and not is_blank(picture) and picture.brightness[0] > BRIGHT


def is_blank(picture: Picture) -> bool:
    """Whether all is of one brightness."""
    return picture.brightness is not None and picture.brightness[2] - picture.brightness[0] < BLANK


def is_blurred(picture: Picture) -> bool:
    """Whether there are nearly no edges."""
    return picture.sharpness is not None and not is_blank(picture) and picture.sharpness < SHARP


def _look(name: str, title: str, remedy: str, theirs: str, ours: Callable[[Picture], bool]) -> Check:
    """A check by cleanvision's measure of a name where that package is, else by our own."""

    @check(name, WARNING, title, remedy)
    def look(evidence: Evidence) -> Found:
        if evidence.pictures is None:
            return NOTHING
        if evidence.cleanvision is not None:
            return found_in(Case(path, "by cleanvision") for path in evidence.cleanvision.get(theirs, []))
        return found_in(
            Case(path, _measured(picture))
            for split in evidence.splits
            for path, picture in zip(split.images, evidence.pictures[split.name], strict=True)
            if ours(picture)
        )

    return look


def _measured(picture: Picture) -> str:
    low, _, high = picture.brightness or (0, 0, 0)
    return f"brightness {low:.2f} to {high:.2f}, sharpness {picture.sharpness:.3f}"


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
