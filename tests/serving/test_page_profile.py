"""Profiles of voices in the page's own language, against the package: the source as it is, run by Node.js."""

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from emofocus.recognition.voice import SpeechStatistics, VoiceProfile
from helpers.paths import ROOT
from helpers.properties import count

NODE = shutil.which("node") or ""
PAGE = ROOT / "page"
pytestmark = [
    pytest.mark.skipif(not NODE, reason="Node.js is not installed"),
    pytest.mark.skipif(not (PAGE / "node_modules" / "typescript").is_dir(), reason="npm ci has not run in page"),
]
HOP, STRENGTH = 1280, 18.5

SCRIPT = """
import ts from "typescript";
import { readFileSync } from "node:fs";
const source = ts.transpileModule(readFileSync("src/engine/profile.ts", "utf8"), {
  compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
}).outputText;
const { profileOf, joined, adaptationTo } = await import("data:text/javascript," + encodeURIComponent(source));
const answer = ({ clips, segment, second, strength, size }) => {
  const profile = clips
    .map((clip) => profileOf(clip.rows, clip.active, clip.frames, segment, second))
    .reduce((sum, next) => joined(sum, next), null);
  const { shift, scale } = adaptationTo(profile, size, strength);
  const [seconds, count] = profile ? [profile.seconds, profile.clips] : [0, 0];
  return { seconds, count, shift: [...shift], scale: [...scale] };
};
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(answer)));
"""


def in_the_page(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", SCRIPT],
        cwd=PAGE,
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def random_task(seed: int) -> tuple[dict[str, Any], VoiceProfile | None]:
    """No clip to three clips of random segments, of which some hold speech, and the package's profile of them."""
    generator = np.random.default_rng(seed)
    frames, hop, size = (int(generator.integers(1, most)) for most in (30, 40, 7))
    profile, clips = None, []
    for _ in range(generator.integers(4)):
        segments = int(generator.integers(1, 10))
        rows = generator.normal(0, 2, (segments, 2, size)).astype(np.float32)
        active = generator.random(segments) < 0.6
        active[generator.integers(segments)] = True
        total = (segments - 1) * hop + frames - int(generator.integers(0, frames))
        clips.append({"rows": rows.reshape(segments, -1).tolist(), "active": active.tolist(), "frames": total})
        heard = SpeechStatistics()
        for number in np.flatnonzero(active).tolist():
            heard = heard.add(rows[number], number * hop, min(number * hop + frames, total))
        one = heard.profile("model", HOP)
        assert one is not None
        profile = one if profile is None else profile + one
    segment = {"frames": frames, "hop": hop}
    return {"clips": clips, "segment": segment, "second": HOP / 16_000, "strength": STRENGTH, "size": size}, profile


def test_the_page_adapts_as_the_package_does() -> None:
    tasks = [random_task(seed) for seed in range(count(40, 400))]
    told = in_the_page([task for task, _ in tasks])
    for answer, (task, profile) in zip(told, tasks, strict=True):
        if profile is None:
            assert answer == {"seconds": 0, "count": 0, "shift": [0] * task["size"], "scale": [1] * task["size"]}
            continue
        assert answer["seconds"] == pytest.approx(profile.seconds)
        assert answer["count"] == profile.clips
        expected = profile.voice(STRENGTH)
        np.testing.assert_allclose(answer["shift"], expected.shift, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer["scale"], expected.scale, rtol=1e-4)
