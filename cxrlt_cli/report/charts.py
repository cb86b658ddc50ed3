"""Charts as SVG: plain marks, thin axes, a title on every mark. Colours are the page's variables."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from cxrlt_cli.report.label_places import label_places
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores import Floats
from cxrlt_cli.scores.metrics import NUM_CALIBRATION_BINS, FindingScore
from cxrlt_cli.scores.readings import net_benefit

SMALL, MARGIN = 132, 22  # pixels
ENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the axes of reliability
WORST = -0.5  # standardised net benefit at which decision curves are cut


@dataclass(frozen=True)
class _Frame:
    """A square chart of 0 to 1 both ways, or upwards from ``bottom``."""

    title: str
    marks: str
    across: str
    up: str
    end: float = 1.0  # what stands at the right end
    top: float = 1.0  # and at the upper one
    bottom: float = 0.0  # of the upward axis, 0 or below

    def svg(self) -> str:
        low, high = MARGIN, SMALL - 6
        heights = {v: _up(float(_above(v, self.bottom))) for v in sorted({self.bottom, 0, 0.5, 1})}
        grid = "".join(
            f'<line class="grid" x1="{low}" y1="{y:.1f}" x2="{high}" y2="{y:.1f}"/>' for y in heights.values()
        )
        ticks = "".join(
            f'<text x="{low - 4}" y="{y + 3:.1f}" class="tick end">{v * self.top:.2g}</text>'
            for v, y in heights.items()
            if v != 0.5
        ) + "".join(
            f'<text x="{_right(v) + 4 * v:.1f}" y="{SMALL - 8}" class="tick {"end" if v else "middle"}">'
            f"{v * self.end:.2g}</text>"
            for v in (0, 1)
        )
        middle = (heights[0] + heights[1]) / 2
        names = (
            f'<text x="{(low + high) / 2}" y="{SMALL - 8}" class="axis middle">{self.across}</text>'
            f'<text transform="translate({low - 8} {middle:.1f}) rotate(-90)" class="axis middle">{self.up}</text>'
        )
        return (
            f'<svg viewBox="0 0 {SMALL} {SMALL}" role="img" aria-label="{escape(self.title)}">'
            f"<title>{escape(self.title)}</title>{grid}{ticks}{names}{self.marks}</svg>"
        )


def precision_recall(name: str, targets: Floats, probabilities: Floats) -> str:
    """Precision over recall, as steps; the dashed line is the prevalence."""
    precision, recall, _ = precision_recall_curve(targets, probabilities)
    base = float(np.mean(targets))
    marks = _dashed(0, base, 1, base) + _line(recall[::-1], precision[::-1], step=True)
    return _Frame(f"{name}: precision-recall curve, prevalence {base:.3f}", marks, "recall", "precision").svg()


def receiver_operating(name: str, targets: Floats, probabilities: Floats) -> str:
    """Sensitivity over the rate of false alarms; the dashed line is chance."""
    wrong, right, _ = roc_curve(targets, probabilities)
    return _Frame(f"{name}: ROC", _dashed(0, 0, 1, 1) + _line(wrong, right), "1 - specificity", "sensitivity").svg()


def reliability(name: str, targets: Floats, probabilities: Floats) -> str:
    """Observed against predicted frequency, in 15 bins; a dot's area is the share of films.

    Both axes end at the first of ``ENDS`` that no dot is beyond.
    """
    bins = np.minimum((probabilities * NUM_CALIBRATION_BINS).astype(int), NUM_CALIBRATION_BINS - 1)
    shown = [bins == number for number in np.unique(bins)]
    means = [(float(probabilities[mine].mean()), float(targets[mine].mean())) for mine in shown]
    end = next(end for end in ENDS if end >= max(map(max, means)))
    dots = []
    for mine, (sure, often) in zip(shown, means, strict=True):
        radius = 1.5 + 6 * np.sqrt(mine.mean())
        title = f"<title>{mine.sum():,} films: predicted {sure:.2g}, observed {often:.2g}</title>"
        x, y = _right(sure / end), _up(often / end)
        dots.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{title}</circle>')
    marks = _dashed(0, 0, 1, 1) + "".join(dots)
    return _Frame(f"{name}: reliability, from 0 to {end:g}", marks, "predicted", "observed", end, end).svg()


def decision_curve(name: str, targets: Floats, probabilities: Floats) -> str:
    """Net benefit, as a share of what perfect decisions have, over the threshold that is acted at.

    Standardised net benefit (Kerr et al., Journal of Clinical Oncology 2016): net benefit over prevalence, cut at
    ``WORST``. Dashed: to act on all films, and on none, which is the line at 0; below it, acting does harm.
    """
    share = float(np.mean(targets))
    end = min(0.99, max(0.1, 4 * share))
    thresholds = np.linspace(0.002, end, 160)
    ours = net_benefit(targets, probabilities, thresholds)
    everyone = net_benefit(targets, np.ones_like(targets, np.float64), thresholds)
    lines = [_above(np.maximum(values / share, WORST), WORST) for values in (everyone, ours)]
    x, none = thresholds / end, float(_above(0.0, WORST))
    marks = _dashed(0, none, 1, none) + _line(x, lines[0], kind="chance") + _line(x, lines[1])
    title = f"{name}: standardised net benefit against threshold"
    return _Frame(title, marks, "threshold", "net benefit", end, bottom=WORST).svg()


def long_tail(findings: Sequence[FindingScore], width: int = 760, height: int = 330) -> str:
    """AP against the frequency that decides the band, on a logarithmic axis, with intervals; a tick marks chance."""
    scored = [finding for finding in findings if finding.ap is not None and finding.frequency > 0]
    if not scored:
        return ""
    left, right, top, bottom = 44, width - 34, 12, height - 38
    lowest = min(0.008, 0.8 * min(finding.frequency for finding in scored))

    def x(share: float) -> float:
        return left + (right - left) * (1 - math.log(share) / math.log(lowest))

    def y(ap: float) -> float:
        return bottom - (bottom - top) * ap

    parts = [
        f'<line class="grid" x1="{left}" y1="{y(v):.1f}" x2="{right}" y2="{y(v):.1f}"/>'
        f'<text class="tick end" x="{left - 6}" y="{y(v) + 4:.1f}">{v:g}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    for share in (0.001, 0.01, 0.1, 1.0):
        if share >= lowest:
            kind = "cut" if share in (0.01, 0.1) else "grid"
            parts.append(f'<line class="{kind}" x1="{x(share):.1f}" y1="{top}" x2="{x(share):.1f}" y2="{bottom}"/>')
            parts.append(f'<text class="tick middle" x="{x(share):.1f}" y="{bottom + 15}">{100 * share:g} %</text>')
    scored.sort(key=lambda finding: -(finding.ap or 0))
    dots = [(x(finding.frequency), y(finding.ap or 0)) for finding in scored]
    parts += _names([finding.name for finding in scored], dots, (left, top, width - 2, bottom))
    for finding, (px, py) in zip(scored, dots, strict=True):
        assert finding.ap is not None, "chosen above"
        if finding.ap_ci is not None:
            low, high = (y(value) for value in finding.ap_ci)
            parts.append(
                f'<line class="bar {finding.band}" x1="{px:.1f}" y1="{low:.1f}" x2="{px:.1f}" y2="{high:.1f}"/>'
            )
        title = f"{finding.name}: AP {finding.ap:.3f}, chance {finding.prevalence:.3f}, {100 * finding.frequency:.2f} %"
        chance = y(finding.prevalence)
        parts.append(
            f'<line class="tick-mark" x1="{px - 5:.1f}" y1="{chance:.1f}" x2="{px + 5:.1f}" y2="{chance:.1f}"/>'
        )
        parts.append(
            f'<circle class="dot {finding.band}" cx="{px:.1f}" cy="{py:.1f}" r="5">'
            f"<title>{escape(title)}</title></circle>"
        )
    parts.append(f'<text class="axis middle" x="{(left + right) / 2}" y="{height - 6}">films with the finding</text>')
    turned = f"translate(11 {(top + bottom) / 2:.0f}) rotate(-90)"
    parts.append(f'<text class="axis middle" transform="{turned}">average precision</text>')
    return (
        f'<svg class="wide" viewBox="0 0 {width} {height}" role="img" aria-label="AP against frequency">'
        f"{''.join(parts)}</svg>"
    )


def _names(
    names: Sequence[str], dots: Sequence[tuple[float, float]], frame: tuple[float, float, float, float]
) -> Iterator[str]:
    """Each name beside its dot, or further away with a line that leads there."""
    for name, (x, y), place in zip(names, dots, label_places(dots, names, frame), strict=True):
        if place is None:
            continue
        if place.leads:
            near = place.x + (2 if place.is_left else -2)
            yield f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{near:.1f}" y2="{place.y:.1f}"/>'
        kind = "label end" if place.is_left else "label"
        yield f'<text class="{kind}" x="{place.x:.1f}" y="{place.y + 4:.1f}">{escape(name)}</text>'


def co_occurrence(names: Sequence[str], targets: Floats) -> str:
    """Of the films with the finding of a row that are labelled for that of a column, how many have it."""
    have, labelled = np.asarray(targets == 1, np.float64), np.asarray(~np.isnan(targets), np.float64)
    counts, known = have.sum(axis=0), have.T @ labelled
    kept = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    if not kept:
        return ""
    together = have.T @ have
    longest = max(len(names[index]) for index in kept)
    cell, left, top = 18, 12 + min(7 * longest, 198), 16 + min(6 * longest, 154)
    size = left + cell * max(len(kept), 5) + 90, top + cell * len(kept) + 40
    parts = []
    for i, row in enumerate(kept):
        name = escape(names[row])
        parts.append(f'<text class="label end" x="{left - 6}" y="{top + cell * i + 13}">{name}</text>')
        turned = f"translate({left + cell * i + 13} {top - 6}) rotate(-60)"
        parts.append(f'<text class="label" transform="{turned}">{name}</text>')
        for j, column in enumerate(kept):
            if i != j and known[row, column]:
                share = together[row, column] / known[row, column]
                title = f"{names[row]} ({known[row, column]:.0f} films): {100 * share:.0f} % have {names[column]}"
                parts.append(
                    f'<rect class="heat" x="{left + cell * j}" y="{top + cell * i}" width="{cell - 1}" '
                    f'height="{cell - 1}" fill-opacity="{share:.3f}"><title>{escape(title)}</title></rect>'
                )
    for place, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        x, y = left + 34 * place, size[1] - 26
        parts.append(f'<rect class="heat" x="{x}" y="{y}" width="33" height="8" fill-opacity="{share}"/>')
        parts.append(f'<text class="tick middle" x="{x + 16}" y="{y + 20}">{100 * share:.0f} %</text>')
    return (
        f'<svg class="wide" style="--natural: {size[0]}px" viewBox="0 0 {size[0]} {size[1]}" role="img" '
        'aria-label="Findings that occur together">'
        f"{''.join(parts)}</svg>"
    )


def similarity(texts: Sequence[str], cosines: Floats) -> str:
    """Cosines among texts, numbered from 1; the span from the least to the most that there is, in shades."""
    low, high = float(cosines.min()), float(np.max(cosines - 2 * np.eye(len(texts)))) if len(texts) > 1 else 1.0
    cell, left, top = 18, 24, 18
    side = left + cell * len(texts) + 4
    parts = []
    for i, row in enumerate(texts):
        parts.append(f'<text class="tick end" x="{left - 5}" y="{top + cell * i + 12}">{i + 1}</text>')
        parts.append(f'<text class="tick middle" x="{left + cell * i + 9}" y="{top - 5}">{i + 1}</text>')
        for j, column in enumerate(texts):
            if i != j:
                shade = 0.15 + 0.85 * (float(cosines[i, j]) - low) / max(high - low, 1e-9)
                title = f"{cosines[i, j]:.3f}: {row} / {column}"
                parts.append(
                    f'<rect class="heat" x="{left + cell * j}" y="{top + cell * i}" width="{cell - 1}" '
                    f'height="{cell - 1}" fill-opacity="{shade:.3f}"><title>{escape(title)}</title></rect>'
                )
    label = f"Cosines from {low:.2f} to {high:.2f}"
    return (
        f'<svg style="max-width:{side}px" viewBox="0 0 {side} {side}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg><p class='note'>{low:.2f} to {high:.2f}</p>"
    )


def _line(x: Floats, y: Floats, step: bool = False, kind: str = "curve") -> str:
    """A curve; points that would fall on the same half of a pixel are drawn once."""
    if step:  # at the height of its right end, as AP sums it
        x, y = np.repeat(x, 2)[1:-1], np.repeat(y[1:], 2)
    cells = np.round(np.stack([x, y]) * 2 * (SMALL - MARGIN))
    keep = np.concatenate([[True], (np.diff(cells, axis=1) != 0).any(axis=0)])
    keep[-1] = True
    points = " ".join(f"{_right(a):.1f},{_up(b):.1f}" for a, b in zip(x[keep], y[keep], strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _dashed(x0: float, y0: float, x1: float, y1: float) -> str:
    return (
        f'<line class="chance" x1="{_right(x0):.1f}" y1="{_up(y0):.1f}" x2="{_right(x1):.1f}" y2="{_up(y1):.1f}"/>'
    )  # fmt: skip


def _above(value: Floats | float, bottom: float) -> Floats:
    """Where a value stands between the bottom, 0, and 1."""
    return np.asarray((value - bottom) / (1 - bottom))


def _right(value: float) -> float:
    return MARGIN + (SMALL - 6 - MARGIN) * float(value)


def _up(value: float) -> float:
    return SMALL - MARGIN - (SMALL - 6 - MARGIN) * float(value)
