"""Options of recognition: refused when they are made, and sent as one object."""

import ast
import inspect
import pickle
from typing import Any

import pytest

from emofocus import Recognizer, StreamingRecognizer
from emofocus.errors import ConfigError
from emofocus.recognition.options import RecognitionOptions
from helpers.paths import ROOT


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"threads": 0}, r"0 threads cannot recognize \(valid: 1 or more\)"),
        ({"threshold": 1.5}, r"threshold 1.5 is no probability \(valid: 0 to 1\)"),
        ({"threshold": float("nan")}, "threshold nan is no probability"),
        ({"hop": 0}, r"hop of 0 s: .* \(valid: above 0\)"),
        ({"precision": "int4"}, r"unknown precision 'int4' \(valid: fp32, int8, fp16\)"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
    ],
)
def test_a_bad_value_is_refused_before_a_model_is_read(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        RecognitionOptions(**values)
    with pytest.raises(ConfigError, match=reason):
        Recognizer.from_pretrained("no such model", **values)


def test_options_travel_to_other_processes() -> None:
    options = RecognitionOptions(threads=1, threshold=0.5, hop=0.1, precision="int8", device="cpu")
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize("kind", [Recognizer, StreamingRecognizer])
def test_every_option_that_a_user_passes_has_a_name(kind: type) -> None:
    parameters = inspect.signature(kind.from_pretrained).parameters.values()
    assert [item.name for item in parameters if item.kind is not item.KEYWORD_ONLY] == ["source"]


def test_another_hop_leaves_the_recognizer_as_it_was() -> None:
    recognizer = Recognizer.from_pretrained(threads=1, threshold=0.7)
    other = recognizer.with_hop(0.1)
    before = recognizer.config.segment.hop
    assert other.config.segment.hop == round(1_600 / recognizer.config.features.hop)
    assert (other.threshold, other.engine) == (0.7, recognizer.engine)
    assert recognizer.config.segment.hop == before != other.config.segment.hop
    with pytest.raises(ConfigError, match="hop of -1 s"):
        recognizer.with_hop(-1)


def test_predictions_are_made_in_one_place() -> None:
    makers = [
        path.name
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Prediction"
    ]
    assert makers == ["scoring.py"]
