"""The one rule for outputs that are there already: the same work goes on, other work is refused by its differences."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.errors import ConfigError
from emofocus.utils.provenance import (
    content_hash,
    differences,
    file_state,
    record_path,
    refuse_other_work,
    resumes,
    write_record,
)

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner),
    max_leaves=6,
)
records = st.dictionaries(st.text("xyz", min_size=1, max_size=2), plain_values, max_size=4)


@given(record=records)
def test_a_record_is_the_same_work_as_itself_after_json(record: dict[str, object]) -> None:
    assert list(differences(json.loads(json.dumps(record)), record)) == []


@given(record=records, name=st.text("xyz", min_size=1, max_size=2))
def test_whatever_value_differs_is_named(record: dict[str, object], name: str) -> None:
    other = record | {name: "another"}
    (found,) = differences(record, other)
    assert found.startswith(f"{name} is ")
    assert found.endswith(", not 'another'")


def test_a_difference_deep_inside_is_named_with_both_values() -> None:
    there = {"recipe": {"epochs": 3, "features": {"mels": 64}}, "speeds": [0.9]}
    wanted = {"recipe": {"epochs": 3, "features": {"mels": 80}}, "speeds": (0.9,), "model": "bmhsa"}
    assert list(differences(there, wanted)) == ["recipe.features.mels is 64, not 80", "model is absent, not 'bmhsa'"]
    with pytest.raises(ConfigError, match=r"out holds another run \(recipe.features.mels is 64, not 80, model is"):
        refuse_other_work("out", there, wanted)


def test_an_unset_setting_differs_from_one_that_the_output_had() -> None:
    """Unset settings are not written: work with the old features went on with what the new ones had begun."""
    there = {"settings": {"features": {"mels": 64, "remove_offset": True}}, "folds": [0]}
    wanted = {"settings": {"features": {"mels": 64}}}
    assert list(differences(there, wanted)) == ["settings.features.remove_offset is True, not absent"]
    assert list(differences(wanted, there | {"folds": []})) == [
        "settings.features.remove_offset is absent, not True",
        "folds is absent, not []",
    ]


def test_a_long_value_does_not_fill_the_line() -> None:
    (found,) = differences({"classes": ["angry"] * 100}, {"classes": []})
    assert len(found) < 100
    assert found.endswith("…, not []")


def test_an_output_is_begun_then_goes_on_and_refuses_other_work(tmp_path: Path) -> None:
    output = tmp_path / "table.csv"
    record = record_path(output)
    assert not resumes(output, record, {"seed": 0}, occupied=False)
    assert resumes(output, record, {"seed": 0}, occupied=True)
    with pytest.raises(ConfigError, match=r"table.csv holds another run \(seed is 0, not 1\); name another --out"):
        resumes(output, record, {"seed": 1}, occupied=True)


@pytest.mark.parametrize("damage", ["absent", "no json", "a list"])
def test_an_output_without_a_record_is_refused(tmp_path: Path, damage: str) -> None:
    record = tmp_path / "record.json"
    if damage != "absent":
        record.write_text("no json" if damage == "no json" else "[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="nobody knows how it was made; name another --out"):
        resumes(tmp_path, record, {"seed": 0}, occupied=True)


def test_contents_and_states_tell_files_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    assert content_hash(one) != content_hash(two)
    before = file_state(one)
    one.write_bytes(b"three")
    assert file_state(one) != before
    write_record(two, {"seed": 0})
    assert json.loads(two.read_text(encoding="utf-8")) == {"seed": 0}
