"""What every figure shares: colours that colour-blind eyes tell apart, and letters of any script."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

# Okabe and Ito 2008, "Color Universal Design", without its yellow, which is too pale on white; black is for means.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
# Of boxes: each further one is the farthest from all before it, for the eye that confuses it most.
CLASS_COLOURS = (
    *PALETTE,
    *("#8700f0", "#e1e196", "#693c1e", "#4b4b5a", "#b4e1c3", "#9678ff", "#96a55a"),
    *("#2df0ff", "#4b3cb4", "#960f87", "#87f05a", "#a55a2d", "#3c694b", "#ff7896"),
)
MEAN = "#000000"
DASHES = ("-", "--", ":", "-.")  # where the colours begin again
MARKS = ("o", "s", "^", "D")
COUNTS = "viridis"  # its lowest colour stands out from white paper
_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("SC", "TC", "JP", "KR")),  # each holds the characters of all
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the n-th line of a figure; 24 differ."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number // len(PALETTE) % len(DASHES)]}


def mark_style(number: int) -> dict[str, Any]:
    """Colour and mark of the n-th series of points; 24 differ."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKS[number // len(PALETTE) % len(MARKS)]}


FONT_FILES = ("notosanscjk", "sourcehan", "wqy", "droidsansfallback", "msyh", "simhei", "pingfang", "notosans")
_MISSING = re.compile(r"Glyph (\d+) .*missing from")
_told: set[str] = set()  # characters that were spoken of: a run draws many figures


@lru_cache(maxsize=1)
def _families() -> list[str]:
    """Matplotlib's own font, then those for Chinese, also one installed since matplotlib last looked for fonts."""
    from matplotlib import font_manager

    if not set(_FONTS) & set(font_manager.get_font_names()):
        for file in font_manager.findSystemFonts():
            if Path(file).name.lower().replace("-", "").replace("_", "").startswith(FONT_FILES):
                with suppress(OSError, RuntimeError):  # a broken font, or one of a kind that FreeType lacks
                    font_manager.fontManager.addfont(file)
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FONTS if name in installed)]


@contextmanager
def readable_fonts() -> Iterator[None]:
    """Chinese class names use an installed font if there is one, else empty boxes and a note; $ is no formula."""
    import matplotlib as mpl

    rc: dict[Any, Any] = {"font.family": _families(), "text.parse_math": False}
    with mpl.rc_context(rc), warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="Glyph .*missing from")
        yield
    missing = set()
    for warning in caught:
        if found := _MISSING.match(str(warning.message)):
            missing.add(chr(int(found[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if new := sorted(missing - _told):
        _told.update(new)
        print(
            f"no font here has the characters {''.join(new[:20])} of a plot, where empty boxes stand for them; install "
            "one that has them, such as Noto Sans CJK",
            file=sys.stderr,
        )
