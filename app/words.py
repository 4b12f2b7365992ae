"""Every word of the page in English and Chinese. Messages of the engine are those of the command line, in English."""

from __future__ import annotations

from pathlib import Path

from files.yaml_file import read_yaml

LANGUAGES = ("en", "zh")
_WORDS: dict[str, list[str]] = read_yaml(Path(__file__).with_name("words.yaml"))


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """A text by its key, e.g. `say("found", count=3)`."""
        return _WORDS[key][self._column].format(**values)
