"""An adapter without its package is one clear line."""

import sys
from importlib import import_module

import pytest

from emofocus.agents.sources import ServiceSource
from emofocus.errors import MissingExtraError


@pytest.mark.parametrize(
    ("adapter", "needed", "package"), [("pipecat", "pipecat", "pipecat-ai"), ("livekit", "livekit", "livekit-agents")]
)
def test_without_the_package_the_error_gives_the_command(
    adapter: str, needed: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"emofocus.agents.{adapter}"
    loaded = [name for name in sys.modules if name == needed or name.startswith(f"{needed}.")]
    for name in [*loaded, needed]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(MissingExtraError) as error:
        import_module(module)
    assert str(error.value) == f"this needs {package}, which is not installed: pip install 'emofocus[{adapter}]'"
    sys.modules.pop(module, None)


def test_without_websockets_a_service_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(
        MissingExtraError, match=r"needs websockets, which is not installed: pip install 'emofocus\[client\]'"
    ):
        ServiceSource("http://127.0.0.1:8000")
