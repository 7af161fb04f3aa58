"""The build hook: a wheel and a source archive hold the page that the service shows, or are not built.

An editable install (``pip install -e .``) needs no page. ``HATCH_BUILD_NO_HOOKS=true pip install .`` leaves it out.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("src", "emofocus", "serving", "page")
"""Where ``make page`` writes the page; the same folder as `emofocus.serving.web_page.FOLDER`."""

MODEL = "model/model.onnx"
"""The page's model. A wheel holds it once, as the shipped model."""

SHIPPED = Path("src", "emofocus", "assets", "default", "model.onnx")

NEEDED = ("index.html", "assets", MODEL, "model/config.json")


class PageHook(BuildHookInterface[Any]):
    """Refuse to build without the page."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Check the page before a build.

        Args:
            version: ``editable`` or ``standard``.
            build_data: Not used.

        Raises:
            FileNotFoundError: The page is not built, or not whole.
            ValueError: The page was built for another model than the shipped one.
        """
        if version == "editable":
            return
        missing = [name for name in NEEDED if not (Path(self.root) / PAGE / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"the page of the service is not built: {PAGE} lacks {', '.join(missing)}. Run make page (Node.js 20), "
                "or install with pip install -e ., or set HATCH_BUILD_NO_HOOKS=true to build without the page"
            )
        if (Path(self.root) / PAGE / MODEL).read_bytes() != (Path(self.root) / SHIPPED).read_bytes():
            raise ValueError(
                f"the page of the service runs another model than {SHIPPED}, and a wheel holds that one alone: "
                "run make page"
            )
