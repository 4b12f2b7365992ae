"""What every figure shares: colours that colour-blind eyes tell apart, and letters of any script."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Okabe and Ito 2008, "Color Universal Design", without its yellow, which is too pale on white; black is for means.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
MEAN = "#000000"
DASHES = ("-", "--", ":", "-.")  # where the colours begin again
COUNTS = "viridis"  # its lowest colour stands out from white paper
_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("SC", "TC", "JP", "KR")),  # each holds the characters of all
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)


def line_style(number: int) -> dict[str, str]:
    """Colour and dashes of the n-th line of a figure; 24 differ."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number // len(PALETTE) % len(DASHES)]}


@contextmanager
def readable_fonts() -> Iterator[None]:
    """Chinese class names use an installed font if there is one, else boxes without warnings; $ is no formula."""
    import matplotlib as mpl
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(name for name in _FONTS if name in installed)]
    with mpl.rc_context({"font.family": families, "text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
