"""Texts as a page shows them: nothing in them is HTML, and nothing steers or hides."""

import html

from cxrlt_cli.names import visible


def escape(text: str, quote: bool = True) -> str:
    """``text`` for the body of an element or the value of an attribute, with controls written out."""
    return html.escape(visible(text), quote)
