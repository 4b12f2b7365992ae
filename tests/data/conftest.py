"""A private cache folder for every test, and a builder of small data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.images import write_image

Rows = list[list[float]] | str | None


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def build_set(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes images, labels and a YAML and returns the YAML's path.

    Each image is named with its (height, width) and its label rows: a list, text as it stands, or None for no file.
    """

    def build(
        images: dict[str, tuple[tuple[int, int], Rows]], *, names: object = ("a", "b"), folder: str = "set"
    ) -> Path:
        root = tmp_path / folder
        rng = np.random.default_rng(0)
        for kind in ("images", "labels"):
            (root / kind / "train").mkdir(parents=True, exist_ok=True)
        for name, ((height, width), rows) in images.items():
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            image = coarse.repeat(-(-height // 4), 0).repeat(-(-width // 4), 1)[:height, :width]
            write_image(root / "images" / "train" / name, np.ascontiguousarray(image))
            if rows is not None:
                text = rows if isinstance(rows, str) else "".join(" ".join(map(str, row)) + "\n" for row in rows)
                (root / "labels" / "train" / Path(name).with_suffix(".txt")).write_text(text, encoding="utf-8")
        file = root / "set.yaml"
        listed = names if isinstance(names, str) else "[" + ", ".join(names) + "]"
        file.write_text(f"path: {root}\ntrain: images/train\nval: images/train\nnames: {listed}\n", encoding="utf-8")
        return file

    return build
