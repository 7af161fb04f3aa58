"""What an operator sees: counts and times, and nothing of what was said."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Observer:
    """Prometheus' metrics of one service.

    Args:
        waiting: Gives the seconds of audio that wait.
        streams: Gives the number of open streams.
        lost: Gives the number of decoders that files have ended.
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
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
