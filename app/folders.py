"""Which files the page may reach: those below the folders that the server was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.inference.open_weights import EXPORTED_SUFFIXES, OPENVINO_FOLDER
from files.find import ROOT
from files.paths import exists

_OWN = ("weights", "data", "runs")


class Folders:
    """The folders that path inputs may reach.

    Attributes:
        roots: The folders, resolved.
    """

    def __init__(self, given: Sequence[str] | None = None) -> None:
        """Take the folders of `--folder`; without them the current one and those of the repository."""
        wanted = [Path(folder) for folder in given] if given else [Path(), *(ROOT / name for name in _OWN)]
        self.roots = tuple(dict.fromkeys(folder.resolve() for folder in wanted))

    def path(self, text: str) -> Path:
        """A path that was typed or chosen, links followed; bare names are looked for in every folder.

        Raises:
            ValueError: If it is outside, or there is nothing.
        """
        text = text.strip()
        if not text or "\0" in text:
            raise ValueError("expected the path of a file")
        places = (Path(text), ROOT / text, *(root / text for root in self.roots))
        inside = [place for place in places if self.holds(place)]
        if not inside:
            raise ValueError(f"{text}: lies outside of {', '.join(map(str, self.roots))}; app.py --folder DIR adds one")
        found = next((place for place in inside if exists(place)), None)
        if found is None:
            raise ValueError(f"{text}: no such file or folder")
        return found.resolve()

    def holds(self, path: Path) -> bool:
        """Whether a path lies below one of the folders, links followed."""
        try:
            return any(path.resolve().is_relative_to(root) for root in self.roots)
        except (OSError, RuntimeError):  # a name too long; a circle of links
            return False

    def name(self, path: Path) -> str:
        """A path as lists show it: below the folder of the repository or the current one where it is."""
        for base in (Path().resolve(), ROOT):
            if path.is_relative_to(base):
                return str(path.relative_to(base))
        return str(path)

    def files(self, *patterns: str) -> list[str]:
        """The names of what matches a pattern in one of the folders, or in runs/ or weights/ below it, newest first."""
        found = {path.resolve() for root in self.roots for pattern in patterns for path in root.glob(pattern)}
        inside = [path for path in found if self.holds(path)]
        return [self.name(path) for path in sorted(inside, key=lambda path: -path.stat().st_mtime)]

    def weights(self) -> list[str]:
        """Weights files: of runs, in weights/, in the folders themselves; exported ones too."""
        places = ("", "weights/", "train/*/weights/", "runs/train/*/weights/")
        endings = (".pt", *EXPORTED_SUFFIXES[:2], OPENVINO_FOLDER)
        return self.files(*(f"{place}*{ending}" for place in places for ending in endings))
