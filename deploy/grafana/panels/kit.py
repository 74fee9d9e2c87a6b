"""What all rows are made of: selectors, queries, colours, and panels of one look."""

from __future__ import annotations

from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from sipwatch.outcomes.taxonomy import CATEGORY, OUTCOMES

Panel: TypeAlias = Any

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Labels that the variables on top of the page choose.
JOB = 'job=~"$job"'
HOST = f'{JOB}, instance=~"$instance"'
PLACE = 'direction=~"$direction", peer=~"$peer"'
CALLS = f"{HOST}, {PLACE}"
UNJUDGED = 'outcome!~"in_progress|incomplete"'
RATE, RANGE = "$__rate_interval", "$__range"

#: One colour for each side, from green for success to red for technology.
COLOURS = {
    "success": "green",
    "user": "yellow",
    "technical": "red",
    "caller": "purple",
    "system": "blue",
    "policy": "light-blue",
    "routing": "orange",
    "other": "light-orange",
    None: "gray",
}
#: Outcomes of one side are told apart by the shade.
_SHADES = ("", "dark-", "light-", "semi-dark-", "super-light-")
_PLAIN = frozenset(("green", "yellow", "red", "purple", "blue", "orange"))


def outcome_colours() -> dict[str, str]:
    """Outcome to colour."""
    used: dict[str | None, int] = {}
    found = {}
    for outcome in OUTCOMES:
        category = CATEGORY[outcome.name]
        place = used[category] = used.get(category, -1) + 1
        base = COLOURS[category]
        found[outcome.name] = _SHADES[place % len(_SHADES)] + base if base in _PLAIN else base
    return found


def outcomes_of(*categories: str | None) -> str:
    """The outcomes of these categories, as a regular expression."""
    return "|".join(o.name for o in OUTCOMES if o.category in categories)


def query(expr: str, legend: str = "", *, now: bool = False, heat: bool = False) -> Any:
    """A query over the time shown; with `now` only its value at the end."""
    made = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(SOURCE)
    if heat:
        return made.range().format(PromQueryFormat.HEATMAP)
    if now:
        return made.instant().format(PromQueryFormat.TABLE if not legend else "time_series")
    return made.range().exemplar(True)


def graph(
    title: str,
    unit: str,
    *queries: Any,
    about: str = "",
    width: int = 12,
    stacked: bool = False,
    shares: bool = False,
    colours: dict[str, str] | None = None,
    log: bool = False,
) -> Panel:
    """Lines over time, or stacked areas."""
    panel = timeseries.Panel().unit(unit).min(0)
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_model.LegendDisplayMode.TABLE)
        .placement(common_model.LegendPlacement.RIGHT)
        .calcs(["mean", "max", "lastNotNull"] if not stacked else ["mean", "lastNotNull"])
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(common_model.TooltipDisplayMode.MULTI)
        .sort(common_model.SortOrder.DESCENDING)
    )
    panel = panel.legend(legend).tooltip(tooltip).span_nulls(False)
    panel = panel.show_points(common_model.VisibilityMode.AUTO).line_width(1)
    if stacked:
        mode = common_model.StackingMode.PERCENT if shares else common_model.StackingMode.NORMAL
        panel = panel.stacking(common.StackingConfig().mode(mode)).fill_opacity(60)
    else:
        panel = panel.fill_opacity(5)
    if log:
        scale = common_model.ScaleDistribution.LOG
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(scale).log(2))
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, [_colour(colour)])
    return _placed(panel, title, about, width, 8, queries)


def number(
    title: str,
    unit: str,
    expr: str,
    *,
    about: str = "",
    width: int = 3,
    steps: tuple[tuple[float | None, str], ...] = ((None, "blue"),),
) -> Panel:
    """One number, with a colour by its size."""
    panel = (
        stat.Panel()
        .unit(unit)
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .no_value("-")
    )
    return _placed(panel, title, about, width, 4, (query(expr, title),))


def bars(
    title: str,
    unit: str,
    *queries: Any,
    about: str = "",
    width: int = 12,
    colours: dict[str, str] | None = None,
) -> Panel:
    """One bar for each series, as it stands at the end of the time shown."""
    panel = (
        bargauge.Panel()
        .unit(unit)
        .min(0)
        .orientation(common_model.VizOrientation.HORIZONTAL)
        .display_mode(common_model.BarGaugeDisplayMode.BASIC)
        .thresholds(_thresholds(((None, "blue"),)))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, [_colour(colour)])
    return _placed(panel, title, about, width, 8, queries)


def heat(title: str, expr: str, *, about: str = "", width: int = 12) -> Panel:
    """How durations are spread over time, from the buckets of a histogram."""
    colour = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_model.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    panel = heatmap.Panel().calculate(False).color(colour).cell_gap(1)
    panel = panel.y_axis(heatmap.YAxisConfig().unit("s"))
    return _placed(panel, title, about, width, 8, (query(expr, "{{le}}", heat=True),))


def grid(
    title: str,
    columns: dict[str, Any],
    *,
    keys: tuple[str, ...],
    units: dict[str, str],
    about: str = "",
    width: int = 24,
    sort: str = "",
) -> Panel:
    """A table: one row for each combination of `keys`, one column for each query."""
    panel = table.Panel().show_header(True).filterable(True)
    letters = {name: chr(ord("A") + place) for place, name in enumerate(columns)}
    renamed = {f"Value #{letter}": name for name, letter in letters.items()}
    kept = [*keys, *renamed]
    panel = panel.with_transformation(
        model.DataTransformerConfig(id_val="merge", options={})
    ).with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "includeByName": dict.fromkeys(kept, True),
                "indexByName": {name: place for place, name in enumerate(kept)},
                "renameByName": renamed,
            },
        )
    )
    for name, unit in units.items():
        panel = panel.override_by_name(name, [model.DynamicConfigValue("unit", unit)])
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return _placed(panel, title, about, width, 8, columns.values())


def states(title: str, *queries: Any, about: str = "", width: int = 12) -> Panel:
    """When something held: 0 is well, 1 is not."""
    panel = (
        statetimeline.Panel()
        .thresholds(_thresholds(((None, "green"), (1, "red"))))
        .merge_values(True)
        .show_value(common_model.VisibilityMode.NEVER)
        .row_height(0.8)
    )
    return _placed(panel, title, about, width, 8, queries)


def row(title: str, *panels: Panel) -> tuple[Any, list[Panel]]:
    """A heading and what stands below it."""
    return dashboard.Row(title), list(panels)


def _placed(panel: Any, title: str, about: str, width: int, height: int, queries: Any) -> Panel:
    panel = panel.title(title).datasource(SOURCE).span(width).height(height)
    if about:
        panel = panel.description(about)
    for place, made in enumerate(queries):
        panel = panel.with_target(made.ref_id(chr(ord("A") + place)))
    return panel


def _thresholds(steps: tuple[tuple[float | None, str], ...]) -> Any:
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=colour) for value, colour in steps])
    )


def _colour(name: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": name})
