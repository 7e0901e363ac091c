"""What each additional client takes, and its chart, tables and JSON."""

import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from pannier.bench.chart import COLORS, Bars, Chart, axis_top, short_size
from pannier.bench.load import Load
from pannier.bench.report import Report, lines
from tests.bench.figures import CELL, MIB, STATE, point, series

LOAD = Load(n_prompt=512, n_shared=256, n_predict=0)
GROWING = series(*(point(n, 256 + 256 * n) for n in (1, 2, 4, 8)))
PLANNED = series(*(point(n, 256 + 256 * n, measured=False) for n in (1, 2, 4, 8)))
OWN = 256 * CELL + STATE


def printed(report):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(report.tables())
    return capture.get()


def test_each_additional_client():
    each = GROWING.each
    assert GROWING.own_bytes == OWN
    assert each.predicted == each.allocated == each.measured == OWN + 1000
    assert each.held == 128 * CELL + STATE
    noisy = series(point(1, 512), point(8, 2304, excess=7 * MIB)).each
    assert noisy.measured - noisy.allocated == MIB
    assert series(point(1, 512)).each is None


def test_a_plan_has_no_other_figures():
    each = PLANNED.each
    assert (each.predicted, each.allocated, each.measured, each.held) == (
        OWN + 1000,
        None,
        None,
        None,
    )
    assert "points" in PLANNED.as_dict()
    assert "allocated" not in PLANNED.as_dict()["points"][0]


def test_a_cache_of_one_size_takes_no_more_with_clients():
    fixed = series(*(point(n, 4096) for n in (1, 8)))
    assert not fixed.grows
    assert fixed.kv_ratio() == 1
    assert fixed.each.allocated == STATE + 1000
    assert "of a cache that is there anyway" in lines(fixed)[0]
    assert "of that)" not in lines(fixed)[1]


def test_sentences():
    first, second, third, fourth = lines(GROWING)
    assert first == "Each additional client needs 256 cells and a state, 3.25 MiB."
    assert "3.25 MiB as planned, 3.25 MiB as allocated (0), 3.25 MiB as measured (0)" in second
    assert "(1.000 of that)" in second
    assert "held 3.12 MiB by the ledger" in third
    assert fourth == "CPU was measured by resident memory, pages of files left out."
    assert lines(series(point(1, 512))) == []
    assert lines(PLANNED)[1] == "It takes 3.25 MiB as planned."


def test_tables():
    text = printed(Report("m.gguf", LOAD, (GROWING,)))
    for words in ("8 clients", "each more", "2,304", "recurrent", "predicted", "difference"):
        assert words in text
    compared = printed(Report("m.gguf", LOAD, (PLANNED, PLANNED)))
    assert "KV at 8 clients over that at 1: 4.50 (pannier)" in compared


def test_json():
    report = Report("m.gguf", LOAD, (GROWING, PLANNED)).as_dict()
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["load"] == {"n_prompt": 512, "n_shared": 256, "n_predict": 0}
    measured, planned = again["series"]
    each = measured["each_additional_client"]
    assert each["measured_over_own"] == pytest.approx(1, abs=1e-3)
    assert planned["each_additional_client"]["measured"] is None
    last = measured["points"][-1]
    assert last["allocated"] == last["predicted"]
    assert last["allocated_less_predicted"] == {}
    assert last["places"][0]["measured_by"] == "resident"


# ---------------------------------------------------------------- charts

SVG = "{http://www.w3.org/2000/svg}"


def shapes(chart):
    root = ElementTree.fromstring(chart.svg())
    bars = [
        element
        for element in root.iter(f"{SVG}rect")
        if element.get("class").startswith("bar") and float(element.get("y")) != 60
    ]
    return root, bars


def test_heights_are_values():
    chart = Chart("a & b", "c", ("1", "2"), (Bars("x", (MIB, 2 * MIB)), Bars("y", (None, 4 * MIB))))
    root, bars = shapes(chart)
    heights = [float(bar.get("height")) for bar in bars]
    assert len(bars) == 3
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert heights[2] == pytest.approx(4 * heights[0], abs=0.2)
    bottoms = {round(float(bar.get("y")) + float(bar.get("height"))) for bar in bars}
    assert len(bottoms) == 1
    assert next(root.iter(f"{SVG}text")).text == "a & b"


def test_a_chart_is_read_aloud_and_in_the_dark():
    root, _ = shapes(Report("m.gguf", LOAD, (GROWING,)).chart())
    assert root.get("role") == "img"
    assert "8 clients: predicted 22.76 MiB" in root.find(f"{SVG}desc").text
    style = root.find(f"{SVG}style").text
    light, _, dark = style.partition("@media (prefers-color-scheme:dark)")
    for i in range(3):
        assert COLORS[i][0] in light
        assert COLORS[i][1] in dark
    assert all(name in dark for name in ("text{", ".ground{", ".line{"))


def test_charts_say_what_they_show():
    growth = Report("m.gguf", LOAD, (GROWING,)).chart()
    assert growth.groups == ("2 clients", "4 clients", "8 clients")
    assert [bars.name for bars in growth.bars] == ["predicted", "allocated", "measured"]
    assert growth.bars[0].values[-1] == 7 * (OWN + 1000)
    planned = Report("m.gguf", LOAD, (PLANNED,)).chart()
    assert [bars.name for bars in planned.bars] == ["predicted"]
    compared = Report("m.gguf", LOAD, (PLANNED, series(*PLANNED.points, label="other"))).chart()
    assert compared.groups[0] == "1 client"
    assert [bars.name for bars in compared.bars] == ["pannier", "other"]
    assert compared.bars[0].values[-1] == 2304 * CELL
    assert "as planned" in compared.subtitle
    alone = Report("m.gguf", LOAD, (series(point(1, 512)),)).chart()
    assert alone.groups == ("1 client",)


def test_nothing_leaves_the_page():
    chart = Chart("t", "s", ("1", "2"), (Bars("x", (-5.0, 0.0)),))
    _, bars = shapes(chart)
    assert [float(bar.get("height")) for bar in bars] == [0, 0]


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (5, 8), (1000, 1024), (1025, 2048), (48 << 30, 48 << 30)]
)
def test_the_axis_ends_at_a_round_number(most, top):
    assert axis_top(most) == top


def test_short_sizes():
    assert [short_size(n) for n in (0, -1536, 48 << 30, 1 << 20)] == [
        "0 B",
        "-1.5 KiB",
        "48 GiB",
        "1 MiB",
    ]
