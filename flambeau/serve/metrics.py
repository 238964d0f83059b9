"""Figures for Prometheus, at ``/metrics``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import flambeau as torch
from flambeau.serve.repository import Repository

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What one server counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # several workers add up their figures there
        self.requests = Counter("flambeau_serve_requests", "Requests answered", ("route", "code"), registry=self.registry)
        self.seconds = Histogram(
            "flambeau_serve_request_seconds",
            "From the last byte of a request to its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        labels = ("model", "version")
        self.rows = Histogram("flambeau_serve_batch_rows", "Rows in a batch", labels, buckets=_ROWS, registry=self.registry)
        self.waited = Histogram(
            "flambeau_serve_queue_seconds",
            "How long the oldest request of a batch waited",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.computed = Histogram(
            "flambeau_serve_compute_seconds", "How long a batch took", labels, buckets=_SECONDS, registry=self.registry
        )

    def batch(self, model: str, version: str, rows: int, waited: float, took: float) -> None:
        """Counts a batch that ran."""
        self.rows.labels(model, version).observe(rows)
        self.waited.labels(model, version).observe(waited)
        self.computed.labels(model, version).observe(took)

    def follow(self, repository: Repository) -> None:
        """Adds what is read off when somebody asks: queues, the engine, the process."""
        if not self._shared:
            self.registry.register(_Now(repository))
            ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """All figures, those of all workers together."""
        if not self._shared:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)


class _Now(Collector):
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("flambeau_serve_queue", "Requests that wait", labels=("model", "version"))
        for version in self._repository.loaded():
            waiting.add_metric((version.model.name, version.model.version), version.batcher.waiting)
        yield waiting
        engine = CounterMetricFamily("flambeau_engine", "Figures of flambeau.engine_stats()", labels=("figure",))
        for name, value in torch.engine_stats().items():
            if isinstance(value, (int, float)):
                engine.add_metric((name,), value)
        yield engine
