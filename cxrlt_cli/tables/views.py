"""How a film was taken, by what a header or a column says: PA, AP, L or other; frontal or lateral."""

import re

from cxrlt_cli.tables.values import MISSING

FRONTAL, LATERAL, OTHER = "frontal", "lateral", "other"
_AP = re.compile(r"\bA-?P\b|\bANTERO-?\s?POSTERIOR\b")
_PA = re.compile(r"\bP-?A\b|\bPOSTERO-?\s?ANTERIOR\b")
_LATERAL = re.compile(r"\b(L|LL|RL|LAT|LATERAL|LATERO-?LATERAL|X?TABLE LATERAL|PERFIL|SEITLICH)\b")
_LYING = re.compile(r"DECUB|\bL[LR]D\b|\bRLD\b")  # a frontal film of a patient on one side
_FRONTAL = re.compile(r"\bFRONTAL\b")


def view_of(words: str) -> str:
    """PA, AP or L; empty where the words name no view, or several."""
    words = re.sub(r"[_&/,.;]+", " ", words.upper())
    lying = _LYING.search(words)
    named = [
        view
        for view, form in (("PA", _PA), ("AP", _AP), ("L", _LATERAL))
        if form.search(words) and not (view == "L" and lying)
    ]
    return named[0] if len(named) == 1 else ""


def view_cell(cell: str) -> str:
    """What a column says; empty where that is nothing, such as ``n/a``."""
    return "" if cell.lower() in MISSING else cell


def kind_of(cell: str) -> str:
    """``frontal``, ``lateral`` or ``other``; empty where the cell is."""
    view = view_of(cell)
    if view == "L":
        return LATERAL
    if view or _FRONTAL.search(cell.upper()):
        return FRONTAL
    return OTHER if cell else ""
