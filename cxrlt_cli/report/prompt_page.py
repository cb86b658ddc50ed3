"""The page of the prompt lab: what each sentence is worth, and how alike the sentences of a finding are."""

from collections.abc import Mapping, Sequence

from cxrlt_cli.report import charts, document, section, wide
from cxrlt_cli.report.texts import escape
from cxrlt_cli.scores.promptlab import COLUMNS, Examined, Sentence

WORTH = (
    "AP of a sentence by itself, and of its finding without it. What a sentence adds is measured on these very films: "
    "drop those that harm on one set of films and judge on another. Alike: mean cosine with the finding's others. "
    "Click a heading to sort."
)
ALIKE = "Cosines among the sentences of a finding, numbered as above, from the least (lightest) to the most."


def prompt_page(
    title: str, facts: Sequence[tuple[str, str]], examined: Mapping[str, Examined], notes: Sequence[str] = ()
) -> str:
    """The page as HTML; ``facts``: name and value."""
    tables = [
        section(
            escape(f"{one.finding}: AP {one.ap:.3f}; {one.positives:,} films have it, {100 * one.prevalence:.1f} %"),
            _table(one),
            WORTH * (not number),
        )
        for number, one in enumerate(examined.values())
    ]
    maps = "".join(
        f"<div class='card'><h3>{escape(one.finding)}</h3>"
        f"{charts.similarity([sentence.text for sentence in one.sentences], one.similarity)}</div>"
        for one in examined.values()
    )
    alike = section("Similarity of the sentences", f"<div class='cards'>{maps}</div>", ALIKE)
    said = section("Notes", "".join(f"<p>{escape(note)}</p>" for note in notes), "")
    return document(title, facts, [*tables, alike, said])


def _table(one: Examined) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in COLUMNS)
    rows = "".join(_row(number, sentence, one.ap) for number, sentence in enumerate(one.sentences, 1))
    return wide(f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>')


def _row(number: int, sentence: Sentence, ap: float) -> str:
    adds = None if sentence.ap_without is None else ap - sentence.ap_without
    values = (sentence.ap, sentence.ap_without, adds, sentence.similarity)
    cells = "".join(
        "<td data-value=''>–</td>" if value is None else f"<td data-value='{value}'>{round(value, 3) + 0.0:{form}}</td>"
        for value, form in zip(values, (".3f", ".3f", "+.3f", ".3f"), strict=True)
    )
    text = escape(sentence.text, quote=True)
    return f"<tr><td data-value='{number}'>{number}. {text}</td>{cells}</tr>"
