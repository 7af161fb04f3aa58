"""The output of `emofocus train`: a model directory, and below it the training that it comes from."""

from dataclasses import dataclass
from pathlib import Path

from emofocus.export.to_onnx import export
from emofocus.training.results import with_defaults
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import PROVENANCE, Record, read_record, resumes, write_record
from emofocus.version import __version__

FINISHED = "finished.json"
"""Written last, with the record of the training: the model directory is then complete."""

FILES = ("model.onnx", "model.safetensors", "config.json", "README.md")


@dataclass(frozen=True)
class ModelTraining:
    """A model directory in the making.

    Attributes:
        out: The model directory.
    """

    out: Path

    @property
    def work(self) -> Path:
        """Folder of checkpoints and of the trained network."""
        return self.out / "training"

    def begin(self, record: Record) -> bool:
        """Note what is trained here, or go on with it.

        Returns:
            Whether the same training is finished already.

        Raises:
            ConfigError: The folder holds another training, or a model directory of which there is no record.
        """
        wanted = {**record, "version": __version__}
        path = self.work / PROVENANCE
        known = read_record(path)
        if known is not None and "recipe_settings" in known:
            write_record(path, with_defaults(dict(known), str(path)))
        occupied = any((self.out / name).exists() for name in FILES) or any(self.work.glob("*.safetensors"))
        same = resumes(self.out, path, wanted, occupied)
        finished = same and read_record(self.work / FINISHED) is not None
        if finished and all((self.out / name).exists() for name in FILES):
            log_line(f"model directory: {self.out} (finished before)")
            return True
        return False

    def finish(self, extractor: Path | None = None) -> None:
        """Export the trained network into the model directory."""
        export(self.work, self.out, extractor=extractor)
        write_record(self.work / FINISHED, {"version": __version__})
        log_line(f"model directory: {self.out}")
