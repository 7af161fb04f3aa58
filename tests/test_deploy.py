"""The container and the unit: what is pinned, what enters the image, and what the service may not do."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from helpers.paths import ROOT

DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def pins() -> dict[str, str]:
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"], "onnx"])
def test_what_the_service_needs_is_pinned_to_a_version_that_is_allowed(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(pins()[requirement.name])


def test_what_the_image_is_built_of_is_not_ignored() -> None:
    ignore = ROOT / ".dockerignore"
    if not ignore.is_file():
        pytest.skip("the source archive has no .dockerignore")
    kept = {line[1:] for line in ignore.read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    needed = {"src", "page", "examples", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"}
    assert needed | {"deploy/constraints.txt"} <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_container_runs_without_rights_and_checks_its_health() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "/readyz" in last
    assert "--constraint" in last
    assert "latest" not in DOCKERFILE


def test_the_unit_gives_no_rights() -> None:
    unit = (DEPLOY / "emofocus.service").read_text(encoding="utf-8").splitlines()
    closed = ("DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict")
    assert {*closed, "PrivateDevices=yes", "SystemCallFilter=@system-service", "RestrictNamespaces=yes"} <= {*unit}
