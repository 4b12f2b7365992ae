"""What exported files say about themselves, as written and as strangers write it."""

import pytest

from engine.inference.exported_metadata import Metadata

GOOD = {"names": "{0: 'a', 1: 'b'}", "stride": "32"}


def test_text_and_back() -> None:
    names = {0: "it's", 1: 'a "b" \\ é\n', 2: "{x}"}
    metadata = Metadata(names, 64, (320, 640), 4, half=True, nms={"conf_thres": 0.25}, spec={"nc": 2})
    assert Metadata.read(metadata.to_properties(), "f") == metadata
    assert Metadata.read(metadata.to_dict(), "f") == metadata
    assert Metadata.read(GOOD, "f") == Metadata({0: "a", 1: "b"}, 32)


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": "[" * 10_000},
        {"names": "-" * 100_000},
        {"names": "{0: " * 300 + "1" + "}" * 300},
        {"names": "1" + "+1" * 100_000},
        {"names": "'a'" * 600_000},
        {"names": "__import__('os').system('x')"},
        {"names": "3"},
        {"stride": "0"},
        {"stride": "-32"},
        {"stride": "1e400"},
        {"stride": "9" * 5000},
        {"imgsz": "[0, 0]"},
        {"imgsz": "[]"},
        {"imgsz": "[1000000, 32]"},
        {"batch": "0"},
        {"nms": "{'a': 'b'}"},
    ],
    ids=range(16),
)
def test_wrong_facts_give_one_clear_line(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"f.onnx: carries no class names and stride that can be read") as caught:
        Metadata.read({**GOOD, **wrong}, "f.onnx")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
