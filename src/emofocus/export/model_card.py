"""Model card: the README of a model directory with data, license, protocol, figures and limits."""

from collections.abc import Mapping, Sequence
from typing import Any

from emofocus.config import ModelConfig
from emofocus.metrics.calibration import LEAST_COVERAGE, TARGET_ACCURACY
from emofocus.version import __version__

CARD = """---
license: {hub_license}
library_name: emofocus
pipeline_tag: audio-classification
tags: [speech-emotion-recognition, onnx]
{datasets}metrics: [accuracy, recall]
---

# {model} ({corpus})

Recognizes {labels} in speech. `model.onnx` takes 16 kHz waveforms and has the features inside;
`model.safetensors` holds the same weights for torch.

```python
from emofocus import Recognizer

Recognizer.from_pretrained("this folder")("clip.wav").label
```

## License

Weights: **{license}**{license_note}. Code: Apache-2.0.

## Data, protocol and results

{results}
## Calibration

{calibration}
## What the numbers mean

WA is the share of test utterances that are recognized. UA is the mean of the classes' recalls, so that rare classes
count as much as common ones; guessing gives {chance:.1%}. Both are shares of *acted* speech recorded in a studio.

## Limits

- Trained on {heard} alone: few speakers, one language, two sentences or a few, professional actors, clean
  recordings. Expect it to be worse on spontaneous speech, other languages, telephones, noise and children; nobody has
  measured by how much.
- It hears how something is said, not what is meant or felt. Do not use it to judge people: not for hiring, policing,
  insurance, schooling or medical decisions.
- In the European Union the AI Act prohibits emotion recognition at work and in education, and demands that people who
  are heard are told: `docs/responsible-use.md` of emofocus has the articles, and a notice to copy.
- {size}; features: {features}; segments of {seconds:g} s every {hop:g} s.

Made with emofocus {version}.
"""


def model_card(config: ModelConfig, graph_bytes: int, others: Mapping[str, str] | None = None) -> str:
    """Model card as Markdown with the YAML head of the Hugging Face Hub.

    Args:
        config: Configuration of the model.
        graph_bytes: Size of `model.onnx` in bytes.
        others: Name of a further graph → its size as text.
    """
    sizes = {"model.onnx": f"{graph_bytes / 1e6:.1f} MB", **(others or {})}
    corpus = str(config.training.get("corpus", "an unnamed corpus"))
    frame = config.features.hop / config.features.sampling_rate
    return CARD.format(
        model=config.model,
        corpus=corpus,
        heard=_heard(config.training),
        labels=", ".join(config.labels),
        hub_license=config.license.lower() if _is_creative_commons(config.license) else "other",
        datasets=f"datasets: [{corpus}]\n" if config.training else "",
        license=config.license,
        license_note=_license_note(config),
        results=_results(config.training),
        calibration=_calibration(config),
        chance=1 / len(config.labels),
        size="; ".join(f"`{file}`: {size}" for file, size in sizes.items()),
        features=config.features.description,
        seconds=config.segment.frames * frame,
        hop=config.segment.hop * frame,
        version=__version__,
    )


def _heard(training: Mapping[str, Any]) -> str:
    """Corpora that a model was trained on, in their order, those of the models before it first."""
    corpus = str(training.get("corpus", "an unnamed corpus"))
    start = training.get("init")
    return f"{_heard(start)} and {corpus}" if start else corpus


def _is_creative_commons(license: str) -> bool:
    return license.startswith("CC-") and " " not in license


def _license_note(config: ModelConfig) -> str:
    license, start = config.license, config.training.get("init")
    if start:
        return (
            f". Training started from {start['name']} ({start['model']}, trained on {_heard(start)}), whose terms "
            f"stay: {start['license']}. Terms of {config.training['corpus']} hold too, where it has some"
        )
    if license == "CC-BY-NC-SA-4.0":
        return ", as the corpus demands: name the corpus' authors, no commercial use, share alike"
    return ""


def _results(training: dict[str, Any]) -> str:
    if not training:
        return "Unknown: the model directory does not say.\n"
    trained = (
        f"Trained on {training['train']} utterances of {training['corpus']} with the recipe `{training['recipe']}` "
        f"(seed {training['seed']}), protocol **{training['protocol']}**, fold {training['fold']}: {training['note']}. "
        f"Selection: {training['selection']} ({training['valid']} validation utterances; epoch "
        f"{training['best_epoch']}).\n\n{_start(training)}"
    )
    if "test_recalls" not in training:
        return f"{trained}Its test part was never scored; of the validation part, UA {training['valid_ua']:.1%}.\n"
    rows = "\n".join(f"| {name} | {recall:.1%} |" for name, recall in training["test_recalls"].items())
    return (
        f"{trained}On the {training['test']} test utterances ({_speakers(training['test_speakers'])}): "
        f"WA {training['wa']:.1%}, UA {training['ua']:.1%}, macro-F1 {training['macro_f1']:.1%}.\n\n"
        f"| class | recall |\n|---|---|\n{rows}\n"
    )


def _speakers(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    return f"speakers {', '.join(known)}" if known else "speakers unknown"


def _start(training: Mapping[str, Any]) -> str:
    """Sentence on the model from which training started; empty where weights were fresh."""
    start = training.get("init")
    if not start:
        return ""
    learned = "its classifier alone" if start["freeze"] else "all of its layers"
    return (
        f"Training started from **{start['name']}** ({start['model']}, trained on {_heard(start)}; weights "
        f"`{start['weights']}`), and trained {learned}.\n\n"
    )


def _calibration(config: ModelConfig) -> str:
    training = config.training
    if "calibrated_on" in training:
        return _calibrated_on(config)
    if "ece" not in training:
        known = "fitted on the validation part" if "valid_coverage" in training else "not known to be fitted"
        return (
            f"Temperature {config.temperature:g}, threshold {config.threshold:g}: {known}. Nobody has "
            f"measured how often an answer with a probability of 70% is right.\n"
        )
    return (
        f"Logits are divided by the temperature **{config.temperature:.3f}** before the softmax. Expected calibration "
        f"error of the test part (15 bins): {training['ece_before']:.1%} before, **{training['ece']:.1%}** after, "
        f"negative log-likelihood {training['nll_before']:.3f} before, {training['nll']:.3f} after. Segments' logits "
        f"are divided by the same temperature, which was fitted on whole utterances. Of a few hundred utterances "
        f"the calibration error is some percent even if calibration is perfect.\n\n"
        f"Answers less probable than the threshold **{config.threshold:g}** are marked as unsure. "
        f"{_threshold_rule(training)}{_answered(training)}\n\n"
        f"{_fitted_on(training)} Other speakers, rooms and languages may need others.\n"
    )


def _calibrated_on(config: ModelConfig) -> str:
    """Sentences on a calibration by corpora that the network was not trained on."""
    made = config.training["calibrated_on"]
    return (
        f"Logits are divided by the temperature **{config.temperature:.3f}** before the softmax, and answers less "
        f"probable than the threshold **{config.threshold:g}** are marked as unsure. Both are fitted to networks of "
        f"this recipe that had not been trained on the corpus they answer ({', '.join(made['corpora'])}; "
        f"{len(made['runs'])} runs, each corpus alike): {made['coverage']:.1%} of their answers reach the threshold, "
        f"and {made['accuracy']:.1%} of these are right.\n"
    )


def _fitted_on(training: dict[str, Any]) -> str:
    if training.get("calibration") == "kept":
        return (
            f"Both are those of {training['init']['name']}: {training['valid']} validation utterances are too few to "
            "fit others."
        )
    chose = "" if "last epoch" in training["selection"] else ", which chose the epoch too,"
    return f"Both are fitted on the {training['valid']} validation utterances{chose} and on their few speakers."


def _threshold_rule(training: dict[str, Any]) -> str:
    if training.get("calibration") == "kept":
        return ""
    coverage, accuracy = training["valid_coverage"], training["valid_selective_wa"]
    rule = (
        f"It answers as much of the validation part as it can with at least {TARGET_ACCURACY:.0%} of the answers right"
        if accuracy >= TARGET_ACCURACY
        else f"No threshold that answers at least {LEAST_COVERAGE:.0%} of the validation part has "
        f"{TARGET_ACCURACY:.0%} of its answers right; this one has the most"
    )
    return f"{rule}: it answers {coverage:.1%} there, of which {accuracy:.1%} are right. "


def _answered(training: dict[str, Any]) -> str:
    if training["selective_wa"] is None:
        return "Of the test utterances it answers none."
    return (
        f"Of the test utterances it answers **{training['coverage']:.1%}**, of which "
        f"**{training['selective_wa']:.1%}** are right, instead of {training['wa']:.1%} of all."
    )
