"""Reading JSON as a stream gives what reading it whole gives, however the text is cut."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.convert import json_stream
from data.convert.json_stream import read_entries, read_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def flattened(content):
    for key, value in content.items():
        if isinstance(value, list):
            yield from ((key, item) for item in value)
        elif isinstance(value, dict):
            yield from ((key, pair) for pair in value.items())
        else:
            yield key, value


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(), VALUES), st.integers(1, 40), st.sampled_from([None, 2]))
def test_entries_equal_those_of_the_whole(tmp_path_factory, content, chunk, indent):
    file = tmp_path_factory.mktemp("json") / "a.json"
    file.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
        assert list(read_entries(file)) == list(flattened(content))
    assert read_json(file) == content


def test_a_value_without_end_is_not_read_for_ever(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    file.write_text('{"images": ["' + "x" * 5000)
    monkeypatch.setattr(json_stream, "_ELEMENT_CHARACTERS", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 100)
    with pytest.raises(ValueError, match="one element of it is larger than what is read"):
        list(read_entries(file))
    monkeypatch.setattr(json_stream, "_WHOLE_BYTES", 100)
    with pytest.raises(ValueError, match="larger than the"):
        read_json(file)
