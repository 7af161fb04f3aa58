"""Prometheus metrics of the service: counts and times, never anything about what was said."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the histogram of answer times."""


class Metrics:
    """All metrics of one service.

    Args:
        waiting: Returns the seconds of audio that wait.
        streams: Returns the number of open streams.
        lost: Returns the number of decoder processes that files have ended.

    Attributes:
        requests: Counter by route and status.
        seconds: Histogram of answer times by route.
        audio: Counter of recognized audio in seconds, by kind.
        events: Counter of stream events.
    """

    def __init__(self, waiting: Callable[[], float], streams: Callable[[], float], lost: Callable[[], float]) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "emofocus_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "emofocus_request_seconds", "From head to answer.", ["route"], registry=registry, buckets=SECONDS
        )
        self.audio = Counter("emofocus_audio_seconds", "Audio that was recognized.", ["kind"], registry=registry)
        self.events = Counter("emofocus_stream_events", "Events of streams.", registry=registry)
        for name, text, read in (
            ("emofocus_waiting_audio_seconds", "Audio that waits or is being recognized.", waiting),
            ("emofocus_streams", "Open streams.", streams),
            ("emofocus_decoders_lost", "Decoders that files have ended.", lost),
        ):
            Gauge(name, text, registry=registry).set_function(read)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
