"""Class names that say left or right: a mirrored picture of such a class shows another one."""

from __future__ import annotations

import re
from collections.abc import Iterable

# English, German, French, Spanish, Portuguese, Italian, Polish, Turkish, Indonesian, Russian, Vietnamese, Japanese and
# Chinese in Latin letters; below Chinese, Japanese and Korean.
_PAIRS = (
    *(("left", "right"), ("links", "rechts"), ("linke", "rechte"), ("linker", "rechter"), ("gauche", "droite")),
    *(("izquierda", "derecha"), ("izquierdo", "derecho"), ("esquerda", "direita"), ("esquerdo", "direito")),
    *(("sinistra", "destra"), ("sinistro", "destro"), ("lewo", "prawo"), ("lewa", "prawa"), ("lewy", "prawy")),
    *(("sol", "sağ"), ("kiri", "kanan"), ("налево", "направо"), ("левый", "правый"), ("левая", "правая")),
    *(("trái", "phải"), ("hidari", "migi"), ("zuo", "you"), ("l", "r")),
)
_SIGNS = (("左", "右"), ("왼", "오른"))  # written without spaces between words
_AMBIGUOUS = {"l", "r", "sol", "links", "you", "right"}  # a side only beside their counterpart
_OTHER = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}


def mirrored_names(names: Iterable[str]) -> list[str]:
    """The names that a mirrored picture makes wrong: `turn_left`, `右转`; `arr_l` only where there is `arr_r`."""
    names = list(names)
    words = {name: _words(name) for name in names}
    known = {tuple(found) for found in words.values()}

    def is_mirrored(name: str) -> bool:
        if any(sign in name for pair in _SIGNS for sign in pair):
            return True
        swapped = tuple(_OTHER.get(word, word) for word in words[name])
        return swapped != tuple(words[name]) and (
            swapped in known or any(word in _OTHER and word not in _AMBIGUOUS for word in words[name])
        )

    return [name for name in names if is_mirrored(name)]


def _words(name: str) -> list[str]:
    """`turnLeft2` -> turn, left, 2."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())
