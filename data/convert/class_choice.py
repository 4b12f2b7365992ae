"""Which classes a conversion keeps, under which names and in which order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from data.convert.records import Notes, SourceImage
from data.convert.source import Source
from data.dataset.dataset_yaml import FOLDER
from files.kinds import is_dict
from files.text import shown
from files.yaml_file import read_yaml


def read_choice(text: str) -> dict[str, str]:
    """From the classes that `--classes` keeps to their new names.

    Args:
        text: `stop,yield` keeps two; `give way=yield,stop` also renames one, and several that get one name are merged;
            the name of a YAML file holds the same as a mapping or a list.

    Raises:
        ValueError: If it is neither.
    """
    if text.lower().endswith((".yaml", ".yml")):
        content = read_yaml(Path(text))
        pairs = list(content.items()) if is_dict(content) else [(one, one) for one in content or []]
    else:
        split = (part.partition("=") for part in text.split(","))
        pairs = [(old, new if equals else old) for old, equals, new in split]
    choice = {str(old).strip(): str(new).strip() for old, new in pairs}
    if not all((*choice, *choice.values())) or len(choice) != len(pairs):
        raise ValueError(f"--classes {shown(text)}: expected different, non-empty names between commas, or OLD=NEW")
    return choice


def choose_classes(
    source: Source,
    sources: Sequence[SourceImage],
    names: Sequence[str],
    choice: Mapping[str, str],
    out: Path,
    notes: Notes,
) -> tuple[list[str], list[SourceImage]]:
    """Class names in label order, and the images with the objects that are kept, under their new names.

    Args:
        source: The set, whose own order of classes is taken where there is one.
        sources: Its images.
        names: As `--names` gives them; empty takes the order of `--classes`, of the YAML in `data/` that describes a
            set of this name and these classes, of the set, or sorts what is found.
        choice: From `read_choice`; empty keeps all.
        out: The folder to write.
        notes: Receives what is left out.

    Raises:
        ValueError: If a class of `choice` does not occur, `names` lacks one, or there are no objects.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for one in sources:
        for box in one.boxes:
            found[box.label].append(one.annotation.name)
    known = {*found, *source.class_names}
    if not known:
        raise ValueError(f"{source.folder}: the annotations hold no objects; {notes.first()}")
    for name in choice:
        if name not in known:
            near = get_close_matches(name, known, n=1) or sorted(known)[:10]
            raise ValueError(f"--classes {name}: the set has no such class; did you mean {', '.join(near)}?")
    if choice:
        sources = [_chosen(one, choice, source, notes) for one in sources]
        found = {new: [] for old, new in choice.items()}
        declared = list(dict.fromkeys(choice.values()))
    else:
        declared = source.class_names + sorted(set(found) - set(source.class_names)) if source.class_names else []
    others = sorted(set(found) - set(names)) if names else []
    if others:
        told = ", ".join(f"{name} ({len(found[name])}, first in {found[name][0]})" for name in others if found[name])
        raise ValueError(
            f"--names lacks classes that the annotations hold: {told or ', '.join(others)}; add them, or keep some "
            "with --classes"
        )
    return list(names) or _described_order(out, found) or declared or sorted(found), list(sources)


def _chosen(one: SourceImage, choice: Mapping[str, str], source: Source, notes: Notes) -> SourceImage:
    others = Counter(box.label for box in one.boxes if box.label not in choice)
    for label, number in others.items():
        notes.add("dropped", source.short(one.annotation), f"{number} of {label}, which --classes leaves out")
    return replace(one, boxes=tuple(box._replace(label=choice[box.label]) for box in one.boxes if box.label in choice))


def _described_order(out: Path, found: Iterable[str]) -> list[str]:
    """The class order of the YAML in `data/` whose set lies at `out`, so that the two cannot disagree; else nothing."""
    for file in sorted(FOLDER.glob("*.yaml")):
        content = read_yaml(file)
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict) and content.get("path") == out.resolve().name and set(found) <= set(names.values()):
            return [names[class_id] for class_id in sorted(names)]
    return []
