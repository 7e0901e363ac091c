"""Prometheus' text format, read by its own parser where that is installed."""

from __future__ import annotations

import math

import pytest

from pannier.server.prometheus import Metric, counter, gauge, render

LABELS = {"name": 'a"b\\c\nd', "x": "ü"}
METRICS = [
    counter("pannier_a_total", "All \\ of\nthem", 5),
    Metric(
        "pannier_b",
        "gauge",
        "By name",
        ((LABELS, 0.25), ({"name": ""}, 2)),
    ),
    gauge("pannier_c", "Nothing", math.nan),
    gauge("pannier_d", "Much", math.inf),
    Metric("pannier_none", "gauge", "No values", ()),
]
TEXT = r"""# HELP pannier_a_total All \\ of\nthem
# TYPE pannier_a_total counter
pannier_a_total 5
# HELP pannier_b By name
# TYPE pannier_b gauge
pannier_b{name="a\"b\\c\nd",x="ü"} 0.25
pannier_b{name=""} 2
# HELP pannier_c Nothing
# TYPE pannier_c gauge
pannier_c NaN
# HELP pannier_d Much
# TYPE pannier_d gauge
pannier_d +Inf
"""


def test_text() -> None:
    assert render(METRICS) == TEXT


def test_the_parser_reads_what_was_meant() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")
    found = {family.name: family for family in parser.text_string_to_metric_families(TEXT)}
    assert found["pannier_a"].documentation == "All \\ of\nthem"
    assert found["pannier_b"].samples[0].labels == LABELS
