"""Encoders are found, described and kept; each bad one is refused in one line."""

import json
import pickle
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from emofocus.config import EncoderSettings, FeatureSettings, Recipe, parse, to_plain
from emofocus.errors import ConfigError, ModelError
from emofocus.features import encoders
from emofocus.features.encoders import resolved, weights_of
from emofocus.features.front_end import FrontEnd
from helpers.encoders import tiny_features, tiny_whisper


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights are kept outside of the user's folder, and those of other tests are forgotten."""
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoders, "_held", {})
    return tmp_path / "cache"


def asked(encoder: Path | str, layers: int = 2, **settings: object) -> FeatureSettings:
    return FeatureSettings(name="whisper", encoder=str(encoder), layers=layers, hop=1280, **settings)


def test_settings_without_an_encoder_are_written_as_they_always_were() -> None:
    """Their bytes name the entries of the cache, and stand in committed results."""
    expected = (
        '{"name":"mfcc","sampling_rate":16000,"window":400,"hop":160,"mels":128,"coefficients":40,"deltas":0,'
        '"also":[],"pitch_bins":0}'
    )
    assert msgspec.json.encode(FeatureSettings()).decode() == expected


def test_an_encoder_is_described_without_the_path_of_its_folder(tmp_path: Path) -> None:
    settings = resolved(asked(tiny_whisper(tmp_path / "ears")))
    assert isinstance(settings.encoder, EncoderSettings)
    assert settings.encoder.source == "ears"
    assert settings.encoder.config["d_model"] == 32
    assert str(tmp_path) not in msgspec.json.encode(settings).decode()
    assert parse(FeatureSettings, to_plain(settings), "settings") == settings
    assert resolved(settings) is settings


def test_the_digest_is_that_of_the_values_and_of_the_layers_that_are_used(tmp_path: Path) -> None:
    half = resolved(asked(tiny_whisper(tmp_path / "half", half=True))).encoder
    tensors = {name: value.float() for name, value in load_file(tmp_path / "half" / "model.safetensors").items()}
    tiny_whisper(tmp_path / "whole")
    save_file(tensors, tmp_path / "whole" / "model.safetensors")
    assert resolved(asked(tmp_path / "whole")).encoder.digest == half.digest
    tensors["model.encoder.layers.2.fc1.bias"] += 1
    save_file(tensors, tmp_path / "whole" / "model.safetensors")
    assert resolved(asked(tmp_path / "whole")).encoder.digest == half.digest
    assert resolved(asked(tmp_path / "whole", layers=3)).encoder.digest != half.digest


def test_an_encoder_is_found_by_name_below_a_folder_of_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_whisper(tmp_path / "openai" / "whisper-tiny")
    monkeypatch.setenv("EMOFOCUS_ENCODERS", str(tmp_path))
    assert resolved(asked("openai/whisper-tiny")).encoder.source == "openai/whisper-tiny"


def test_weights_are_kept_and_found_without_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_whisper(tmp_path / "ears")
    settings = resolved(asked(folder))
    before = FrontEnd(settings)(torch.ones(1, 4000))[0]
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(encoders, "_held", {})
    torch.testing.assert_close(FrontEnd(settings)(torch.ones(1, 4000))[0], before, atol=0, rtol=0)


def test_weights_that_changed_where_they_came_from_are_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOFOCUS_ENCODERS", str(tmp_path))
    settings = resolved(asked(str(tiny_whisper(tmp_path / "a" / "b"))[len(str(tmp_path)) + 1 :]))
    for file in (cache / "encoders").iterdir():
        file.unlink()
    monkeypatch.setattr(encoders, "_held", {})
    tiny_whisper(tmp_path / "a" / "b", seed=1)
    with pytest.raises(ModelError, match="a/b: its weights are not those of the training"):
        weights_of(settings.encoder, 2, "whisper")


def test_an_encoder_is_frozen(tmp_path: Path) -> None:
    front_end = FrontEnd(tiny_features(tmp_path / "ears"))
    assert not any(parameter.requires_grad for parameter in front_end.parameters())


def no_such(folder: Path) -> FeatureSettings:
    return asked("whisper-huge")


def empty_folder(folder: Path) -> FeatureSettings:
    folder.mkdir()
    return asked(folder)


def pickled(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    return asked(folder)


def without_weights(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    (folder / "model.safetensors").unlink()
    return asked(folder)


def damaged(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    (folder / "model.safetensors").write_bytes(b"nothing of the kind")
    return asked(folder)


def other_architecture(folder: Path) -> FeatureSettings:
    return asked(tiny_whisper(folder, model_type="dasheng"))


def too_many_layers(folder: Path) -> FeatureSettings:
    return asked(tiny_whisper(folder), layers=4)


def tapped_beyond(folder: Path) -> FeatureSettings:
    return asked(tiny_whisper(folder), taps=(1, 3))


def other_dimensions(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"d_model": 64}))
    return asked(folder)


def lacks_a_key(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["num_mel_bins"]
    (folder / "config.json").write_text(json.dumps(config))
    return asked(folder)


def no_json(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    (folder / "config.json").write_text("{")
    return asked(folder)


def fewer_tensors(folder: Path) -> FeatureSettings:
    tiny_whisper(folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.encoder.layers.1.fc1.weight"]
    save_file(tensors, folder / "model.safetensors")
    return asked(folder)


def no_encoder(folder: Path) -> FeatureSettings:
    return FeatureSettings(name="whisper", layers=2)


def needless(folder: Path) -> FeatureSettings:
    return FeatureSettings(name="mfcc", encoder="openai/whisper-base")


BAD = [
    (no_such, ModelError, r"no such encoder: 'whisper-huge' \(valid: a folder, or org/name on the Hub\)"),
    (empty_folder, ModelError, r"ears: no encoder, its config.json cannot be read \(No such file or directory\)"),
    (pickled, ModelError, r"ears: no model.safetensors; pytorch_model.bin is a pickle, .* never read"),
    (without_weights, ModelError, r"ears: no model.safetensors$"),
    (damaged, ModelError, r"ears: its model.safetensors is damaged"),
    (other_architecture, ModelError, r"its architecture is 'dasheng', not 'whisper' \(valid: whisper, wav2v"),
    (too_many_layers, ConfigError, r"ears has 3 layers, not 4 \(valid: 1 to 3\)"),
    (tapped_beyond, ConfigError, r"taps \(1, 3\) lie beyond the 2 layers that are used"),
    (other_dimensions, ModelError, r"ears: .* has the shape \(.*\), but its config.json says \(.*\)"),
    (lacks_a_key, ModelError, r"ears: its config.json lacks 'num_mel_bins'"),
    (no_json, ModelError, r"ears: its config.json is damaged"),
    (fewer_tensors, ModelError, r"ears: its model.safetensors lacks what the encoder calls layers.1.expand.weight"),
    (no_encoder, ConfigError, r"features whisper need an encoder \(.*\) and its layers"),
    (needless, ConfigError, r"features mfcc take no encoder and no layers"),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD, ids=lambda item: getattr(item, "__name__", None))
def test_each_bad_encoder_is_refused_in_one_line(make, kind, message, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message) as caught:
        resolved(make(tmp_path / "ears"))
    assert "\n" not in str(caught.value)


def test_without_a_network_the_error_says_how_to_place_files_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        ModelError, match=r"no route to host\). Without a network, put its config.json and .* in .EMOFOCUS_EN"
    ):
        resolved(asked("openai/whisper-huge"))


def test_a_hop_that_is_no_multiple_of_the_encoders_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a hop of a multiple of 320 samples, not 1000"):
        FrontEnd(tiny_features(tmp_path / "ears", hop=1000))


def test_an_encoder_of_a_family_that_is_not_there_is_refused_with_those_that_are() -> None:
    values = {"features": {"name": "dasheng", "encoder": "mispeech/dasheng-base", "layers": 3}}
    with pytest.raises(ConfigError, match=r"recipe: 'dasheng' at `\$.features.name` \(valid: mfcc, .*, wavlm\)"):
        parse(Recipe, values, "recipe")


def test_a_recipe_names_an_encoder() -> None:
    recipe = parse(Recipe, {"features": {"name": "whisper", "encoder": "openai/whisper-base", "layers": 3}}, "recipe")
    assert recipe.features.encoder == "openai/whisper-base"
