"""XML from strangers: bounded, in whatever encoding it declares, without document types."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

_MAX_XML_BYTES = 16 << 20
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_EXPAT_ENCODINGS = {"utf-8", "utf8", "utf-16", "utf16", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"}


def parse_xml(path: Path, root: str, max_bytes: int = _MAX_XML_BYTES) -> ET.Element:
    """Parse an annotation from an untrusted source.

    Document type declarations are refused before any entity is declared, so neither expansion bombs nor external
    entities can act. Encodings that the parser lacks (GBK, Shift-JIS, …) are decoded as the declaration says.

    Args:
        path: The file.
        root: The tag that it has to begin with.
        max_bytes: What is read of a file at most.

    Raises:
        ValueError: If the file is too large, not XML, of another kind, or declares a document type.
    """
    if path.stat().st_size > max_bytes:
        raise ValueError(f"larger than {max_bytes >> 20} MiB")
    content: bytes | str = path.read_bytes()
    declared = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf"))
    if declared and declared[1].decode().lower() not in _EXPAT_ENCODINGS:
        try:
            content = content[declared.end() :].decode(declared[1].decode())
        except (LookupError, UnicodeDecodeError) as error:
            raise ValueError(f"its declared encoding does not fit: {error}") from error
    parser = ET.XMLParser(target=_RefuseDoctype())
    try:
        parser.feed(content)
        tree = parser.close()
    except ET.ParseError as error:
        raise ValueError(f"not well-formed XML: {error}") from error
    if tree.tag != root:
        raise ValueError(f"expected <{root}> but the file starts with <{tree.tag}>")
    return tree


class _RefuseDoctype(ET.TreeBuilder):
    """A tree builder that stops at a document type declaration."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it declares a document type ({name}), which no annotation needs; refused")
