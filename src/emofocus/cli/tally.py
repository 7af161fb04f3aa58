"""Counts of what a command over many recordings has done."""

import sys
from dataclasses import dataclass

from emofocus.errors import AudioError


@dataclass
class Tally:
    """Counts of recordings.

    Attributes:
        done: Recognized by this run.
        failed: Not recognized, each with a reason on stderr.
        present: Recognized by an earlier run.
        unadapted: Recognized by this run without a profile, where the others have one of their voice.
    """

    done: int = 0
    failed: int = 0
    present: int = 0
    unadapted: int = 0

    def report(self, error: AudioError) -> None:
        """Name on stderr what failed, and count it."""
        self.failed += 1
        print(f"emofocus: {error}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        """The counts for a reader, without those that are 0."""
        others = (
            (self.unadapted, "of no known voice"),
            (self.failed, "failed"),
            (self.present, "were there already"),
        )
        return ", ".join([f"{self.done} done", *(f"{count} {words}" for count, words in others if count)])
