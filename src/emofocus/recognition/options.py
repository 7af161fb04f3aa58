"""Settings of recognition, as one object that travels from the user to the engine."""

from emofocus.config import Settings
from emofocus.errors import ConfigError, one_of
from emofocus.recognition.engine import DEVICES, PRECISION_FILES


class RecognitionOptions(Settings, frozen=True, kw_only=True):
    """Options of loading a model and of recognition.

    Attributes:
        threads: CPU threads of one run of the model; None for as many as there are cores.
        threshold: Lowest probability of the label at which a prediction counts as confident, 0 to 1; None for the
            model's own.
        hop: Seconds from segment to segment, rounded to whole frames; None for the model's own.
        window: Seconds of a segment, rounded to whole frames; None for the model's own. Models on a pretrained encoder
            take shorter ones too.
        precision: Arithmetic of the network: fp32, int8 or fp16. A model directory need not have all of them.
        device: cpu, cuda, coreml or directml; auto takes the first that this machine has.
        optimize_graph: Whether onnxruntime arranges the graph anew. That takes a while at the start, and saves a tenth
            of the time of each clip.
        track: Number of the audio track to read of files that have several, from 1; None for their default one.
        voice: File of a voice's profile, for models that can be adapted; None for nobody's.
        labels: Emotions to choose from; None for all of the model's.

    Raises:
        ConfigError: A value is not valid.
    """

    threads: int | None = None
    threshold: float | None = None
    hop: float | None = None
    window: float | None = None
    precision: str = "fp32"
    device: str = "auto"
    optimize_graph: bool = True
    track: int | None = None
    voice: str | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not valid (ConfigError)."""
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"{self.threads} threads cannot recognize (valid: 1 or more)")
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.hop is not None:
            check_hop(self.hop)
        if self.window is not None:
            check_window(self.window)
        if self.precision not in PRECISION_FILES:
            raise ConfigError(f"unknown precision {self.precision!r} ({one_of(PRECISION_FILES)})")
        if self.device not in ("auto", *DEVICES):
            raise ConfigError(f"unknown device {self.device!r} ({one_of(('auto', *DEVICES))})")


DEFAULT_OPTIONS = RecognitionOptions()
"""The model's own threshold and hop, fp32, all cores of the first device."""


def check_threshold(threshold: float) -> None:
    """Refuse a threshold outside 0 to 1 (ConfigError)."""
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold} is no probability (valid: 0 to 1)")


def check_hop(seconds: float) -> None:
    """Refuse a hop that is not above 0 (ConfigError)."""
    if not seconds > 0:
        raise ConfigError(f"hop of {seconds:g} s: segments cannot follow each other like that (valid: above 0)")


def check_window(seconds: float) -> None:
    """Refuse a window that is not above 0 (ConfigError)."""
    if not seconds > 0:
        raise ConfigError(f"window of {seconds:g} s: a segment cannot be so short (valid: above 0)")
