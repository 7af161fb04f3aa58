"""Models on wav2vec 2.0, HuBERT and WavLM with random weights: their graphs answer as torch does, padded or not."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting needs emofocus[train]")

from emofocus.config import ModelConfig, SegmentSettings  # noqa: E402
from emofocus.export.quantization import FIXED, write_fixed  # noqa: E402
from emofocus.export.to_onnx import WaveformClassifier  # noqa: E402
from emofocus.features.front_end import FrontEnd  # noqa: E402
from emofocus.features.self_supervised import CLASSES  # noqa: E402
from emofocus.models.checkpoint import load_network  # noqa: E402
from emofocus.recognition.engine import Engine, open_session  # noqa: E402
from helpers.encoders import VARIANTS, self_supervised_features, tiny_self_supervised  # noqa: E402
from helpers.speeds import slow_but  # noqa: E402
from helpers.untrained import LABELS, saved, untrained  # noqa: E402

FRAMES, HOP = 20, 640

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = [f"{name}, {variant}" for name in CLASSES for variant in VARIANTS]


@pytest.mark.parametrize("kind", slow_but(KINDS, quick=["wavlm, group norm"]))
def test_graphs_answer_as_torch_does_padded_or_not(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "cache"))
    name, variant = kind.split(", ")
    tiny_self_supervised(tmp_path / "ears", name, variant)
    features = self_supervised_features(tmp_path / "ears", name, hop=HOP)
    config = ModelConfig.of("encoder-faca", LABELS, features=features, segment=SegmentSettings(frames=FRAMES, hop=8))
    folder = saved(tmp_path, untrained(config), config)
    engine = Engine(folder / "model.onnx", threads=1)
    network, config = load_network(folder)
    lengths = np.array([engine.whole + 300, engine.whole + 20_000])
    batch = (0.1 * np.random.default_rng(0).standard_normal((2, lengths.max()))).astype(np.float32)
    batch[0, lengths[0] :] = 0.0
    with torch.inference_mode():
        classify = WaveformClassifier(network, config).eval()
        expected = classify(torch.from_numpy(batch), torch.from_numpy(lengths)).logits.numpy()
    found = engine.run(batch, lengths).logits
    np.testing.assert_allclose(found, expected, atol=1e-4)
    alone = engine.run(batch[:1, : lengths[0]], lengths[:1]).logits
    np.testing.assert_allclose(found[:1, : alone.shape[1]], alone, atol=1e-5)
    short = batch[1:, :9_000]
    with torch.inference_mode():
        frames, _ = FrontEnd(config.features)(torch.from_numpy(short))
        expected = network.eval()(frames, torch.tensor([frames.shape[1]])).logits.numpy()
    np.testing.assert_allclose(engine.run(short, np.array([9_000])).logits[0], expected, atol=1e-4)
    write_fixed(folder, config)
    fixed = open_session(folder / FIXED).run(["logits"], {"waveform": batch[:1, : engine.whole]})[0]
    np.testing.assert_allclose(fixed, engine.run(batch[:1, : engine.whole], np.array([engine.whole])).logits, atol=1e-4)
