"""The card comes back as it was written, and a card that is not one is refused in a sentence that helps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from meddiff.card import AXIAL, CARD, Card, Labels, read_card, write_card
from meddiff.errors import BadInput, BadModel

REQUIRED = sorted(name for name, field in Card.model_fields.items() if field.is_required())
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(min_size=1).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refusal(folder: Path, data: Any) -> str:
    """What `read_card` says of a card that holds `data`."""
    folder.joinpath(CARD).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(BadModel) as caught:
        read_card(folder)
    message = str(caught.value)
    assert str(folder / CARD) in message
    assert "pydantic" not in message and "\n" not in message and message.endswith(".")
    return message


def test_round_trip_of_the_whole_card(card: Card, card_data: dict[str, Any], tmp_path: Path) -> None:
    path = write_card(card, tmp_path)
    assert path == tmp_path / "model.json"
    assert read_card(tmp_path) == card
    assert json.loads(path.read_text(encoding="utf-8")) == card_data
    assert [p.name for p in tmp_path.iterdir()] == ["model.json"]
    assert card.orientation == AXIAL


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arguments=st.dictionaries(st.text(), values, max_size=4),
    text=texts,
    seed=st.integers(-(2**60), 2**60),
    value=numbers,
    spacing=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=3),
)
def test_round_trip_of_anything(
    card_data: dict[str, Any], tmp_path: Path, arguments: Any, text: str, seed: int, value: float, spacing: list[float]
) -> None:
    data = {**card_data, "summary": text, "intensity": arguments, "spacing_mm": spacing}
    data["network"] = {"name": "unet", "arguments": arguments}
    data["training"] = {**card_data["training"], "seed": seed}
    data["quality"] = [{**card_data["quality"][0], "value": value}]
    card = Card.model_validate(data)
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card


def test_writing_twice_gives_the_same_bytes(card: Card, tmp_path: Path) -> None:
    first = write_card(card, tmp_path).read_bytes()
    assert write_card(read_card(tmp_path), tmp_path).read_bytes() == first
    assert first.endswith(b"}\n") and b"\r" not in first


@pytest.mark.parametrize("key", REQUIRED)
def test_each_missing_key_is_named(key: str, card_data: dict[str, Any], tmp_path: Path) -> None:
    del card_data[key]
    assert f"lacks {key}." in refusal(tmp_path, card_data)


def test_an_unknown_key_is_named_with_its_neighbour(card_data: dict[str, Any], tmp_path: Path) -> None:
    card_data["predict"] = card_data.pop("predicts")
    message = refusal(tmp_path, card_data)
    assert "lacks predicts" in message and "unknown key predict (did you mean predicts?)" in message


def test_an_unknown_key_inside_is_named(card_data: dict[str, Any], tmp_path: Path) -> None:
    card_data["network"]["_target_"] = "os.system"
    assert "unknown key network._target_" in refusal(tmp_path, card_data)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            ["predicts"],
            "epsilon",
            "predicts = 'epsilon' (expected: 'x0', 'eps', 'v', 'score', 'image', 'label' or 'velocity')",
        ),
        (["shape_multiple"], "16", "shape_multiple = '16' (expected: integer)"),
        (["shape_multiple"], 0, "shape_multiple = 0 (expected: greater than 0)"),
        (["spacing_mm"], [1.0, -1.0], "spacing_mm[1] = -1.0 (expected: greater than 0)"),
        (["spacing_mm"], [1.0], "spacing_mm = [1.0]"),
        (["channels"], [], "channels = []"),
        (["channels", 0, "unit"], 3, "channels[0].unit = 3 (expected: string)"),
        (["network", "name"], "os.system", "network.name = 'os.system' (expected: a plain name"),
        (["network"], "unet", "network = 'unet'"),
        (["id"], "../brain", "id = '../brain' (expected: lower-case letters"),
        (["licence"], "free for all", "licence = 'free for all' (expected: an SPDX licence expression"),
        (["summary"], "  ", "summary = '  ' (expected: some text)"),
        (["labels", "null"], 7, "(expected: a null index of at most 6)"),
        (["labels", "names"], ["T1", "T1"], "(expected: names that differ from each other)"),
        (["schedule"], None, "(expected: a schedule, since the network predicts v)"),
        (["covariates", "age", "max"], 1.0, "(expected: a min below the max)"),
        (["training", "seconds"], -1.0, "training.seconds = -1.0"),
        (["files", "../w.safetensors"], {"sha256": "0" * 64, "bytes": 1}, "(expected: plain .safetensors"),
        (["files", "w.pt"], {"sha256": "0" * 64, "bytes": 1}, "(expected: plain .safetensors"),
        (["files", "w.safetensors"], {"sha256": "zz", "bytes": 1}, "(expected: 64 lower-case hexadecimal digits)"),
        (["quality", 0, "value"], math.nan, "quality[0].value = nan"),
    ],
)
def test_a_wrong_value_is_shown_with_what_was_expected(
    path: list[Any], value: Any, said: str, card_data: dict[str, Any], tmp_path: Path
) -> None:
    place: Any = card_data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert said in refusal(tmp_path, card_data)


def test_a_card_of_another_layout_stays_short(tmp_path: Path) -> None:
    message = refusal(tmp_path, {f"key{i}": i for i in range(40)})
    assert "more" in message and len(message) - len(str(tmp_path)) < 400


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"card"', b"\xff\xfe{}", b"\x00" * 10, b"{" * 10_000])
def test_what_is_no_card_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / CARD).write_bytes(content)
    with pytest.raises(BadModel, match=r"model\.json (is not JSON|has at its top)"):
        read_card(tmp_path)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"has no model\.json"):
        read_card(tmp_path)
    with pytest.raises(BadModel, match=r"has no model\.json"):
        read_card(tmp_path / "nowhere")


def test_a_number_that_json_lacks_is_refused_and_the_old_card_stays(card: Card, tmp_path: Path) -> None:
    write_card(card, tmp_path)
    before = (tmp_path / CARD).read_bytes()
    with pytest.raises(BadModel, match="not finite"):
        write_card(card.model_copy(update={"intensity": {"upper": math.inf}}), tmp_path)
    assert (tmp_path / CARD).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [CARD]


def test_an_interrupted_write_leaves_the_old_card(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(card, tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_card(card.model_copy(update={"summary": "new"}), tmp_path)
    assert read_card(tmp_path) == card
    assert [p.name for p in tmp_path.iterdir()] == [CARD]


def test_a_card_does_not_change(card: Card) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        card.summary = "better"  # type: ignore[misc]


def test_labels_have_an_index_and_a_null() -> None:
    labels = Labels(names=("FLAIR", "T1"), null=2)
    assert [labels.index(name) for name in ("FLAIR", "T1", None)] == [0, 1, 2]
    more = Labels(names=("FLAIR", "T1"), states=("healthy", "diseased"), null=6)
    assert [more.index("T1", state) for state in (None, "healthy", "diseased")] == [1, 3, 5]
    with pytest.raises(BadInput, match="unknown label 'T11'; did you mean T1"):
        labels.index("T11")
