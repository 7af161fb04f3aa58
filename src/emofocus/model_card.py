"""The model card: what a model directory's README says of data, licence, protocol, figures and limits."""

from emofocus import __version__
from emofocus.config import ModelConfig


def model_card(config: ModelConfig, graph_bytes: int) -> str:
    """Write the card as Markdown with the YAML head that the Hugging Face Hub reads."""
    return "x"
