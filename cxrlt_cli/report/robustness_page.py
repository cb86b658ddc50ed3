"""The part of a page that shows how scores fall where films are perturbed."""

from cxrlt_cli.report import section
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.robustness import Level, Robustness, Trend

WIDTH, HEIGHT, LEFT, BOTTOM = 300, 150, 30, 20  # pixels


def robustness_section(robustness: Robustness) -> str:
    """A chart of macro AP for each kind of perturbation, and a table of all scores."""
    plain = robustness.plain
    text = (
        f"Macro AP of {escape(robustness.model)} on {robustness.num_films:,} unperturbed films (–), and with "
        "increasing perturbation at the model's input size. Bands: 95 % CI (patient bootstrap). Dashed: AP of the "
        f"unperturbed films{'' if plain.ap is None else f', {plain.ap:.3f}'}."
    )
    top = max([level.ap or 0 for trend in robustness.trends for level in trend.levels] + [plain.ap or 0])
    bounds = [level.ap_ci[1] for trend in robustness.trends for level in (plain, *trend.levels) if level.ap_ci]
    top = min(1.0, 1.05 * max([top, *bounds])) or 1.0
    charts = "".join(
        f"<div class='card'><h3>{escape(trend.kind.name)} ({escape(trend.kind.unit)})</h3>"
        f"{_chart(plain, trend, top)}<p class='soft'>a step: {_slope(trend)}</p></div>"
        for trend in robustness.trends
    )
    return section("Perturbed films", f"<div class='cards'>{charts}</div>{_table(robustness)}", text)


def _chart(plain: Level, trend: Trend, top: float) -> str:
    levels = (plain, *trend.levels)
    xs = [LEFT + (WIDTH - LEFT - 10) * step / (len(levels) - 1) for step in range(len(levels))]

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 8) * value / top

    parts = [
        f'<line class="grid" x1="{LEFT}" y1="{up(v):.1f}" x2="{WIDTH - 10}" y2="{up(v):.1f}"/>'
        f'<text class="tick end" x="{LEFT - 4}" y="{up(v) + 3:.1f}">{v:.2f}</text>'
        for v in (0, top / 2, top)
    ]
    names = ("–", *(f"{strength:g}" for strength in trend.kind.strengths))
    parts += [
        f'<text class="tick middle" x="{x:.1f}" y="{HEIGHT - 6}">{name}</text>'
        for x, name in zip(xs, names, strict=True)
    ]
    bands = [(x, level.ap_ci) for x, level in zip(xs, levels, strict=True) if level.ap_ci]
    if bands:
        edge = [(x, ci[1]) for x, ci in bands] + [(x, ci[0]) for x, ci in reversed(bands)]
        points = " ".join(f"{x:.1f},{up(value):.1f}" for x, value in edge)
        parts.append(f'<polygon class="heat" fill-opacity="0.18" points="{points}"/>')
    if plain.ap is not None:
        parts.append(
            f'<line class="chance" x1="{LEFT}" y1="{up(plain.ap):.1f}" x2="{WIDTH - 10}" y2="{up(plain.ap):.1f}"/>'
        )
    known = [(x, level.ap, name) for x, level, name in zip(xs, levels, names, strict=True) if level.ap is not None]
    points = " ".join(f"{x:.1f},{up(ap):.1f}" for x, ap, _ in known)
    parts.append(f'<polyline class="curve" points="{points}"/>')
    parts += [
        f'<circle class="dot" cx="{x:.1f}" cy="{up(ap):.1f}" r="3"><title>{name}: AP {ap:.3f}</title></circle>'
        for x, ap, name in known
    ]
    label = escape(f"{trend.kind.name}: macro AP by strength")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _slope(trend: Trend) -> str:
    if trend.ap_slope is None:
        return "–"
    bounds = trend.ap_slope_ci
    return f"{trend.ap_slope:+.3f}" + (f" ({bounds[0]:+.3f} to {bounds[1]:+.3f})" if bounds else "")


def _table(robustness: Robustness) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("films", "AP", "AP 95 %", "AUROC", "AUROC 95 %"))
    rows = [_row("as they are", robustness.plain)]
    for trend in robustness.trends:
        for strength, level in zip(trend.kind.strengths, trend.levels, strict=True):
            rows.append(_row(f"{trend.kind.name}, {strength:g}", level))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<details><summary>All scores</summary><div class='scroll'>{table}</div></details>"


def _row(name: str, level: Level) -> str:
    cells = []
    for value, bounds in ((level.ap, level.ap_ci), (level.auroc, level.auroc_ci)):
        cells += ["–" if value is None else f"{value:.3f}", f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "–"]
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
