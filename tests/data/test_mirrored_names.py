"""Names that a mirrored picture makes wrong."""

import pytest

from data.mirrored_names import mirrored_names


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["turn_left", "turn_right", "stop"], ["turn_left", "turn_right"]),
        (["TurnLeft", "stop"], ["TurnLeft"]),
        (["右转", "停"], ["右转"]),
        (["Pfeil links", "Pfeil rechts"], ["Pfeil links", "Pfeil rechts"]),
        (["flèche gauche"], ["flèche gauche"]),
        (["arr_l", "arr_r", "arr_s"], ["arr_l", "arr_r"]),
        (["поворот налево"], ["поворот налево"]),
        (["arr_l", "arr_s"], []),  # one letter alone may mean anything
        (["right of way", "links", "copyright", "leftover"], []),
        (["person", "car"], []),
    ],
)
def test_names_of_many_languages(names, wrong) -> None:
    assert mirrored_names(names) == wrong
