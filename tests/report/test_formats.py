import csv
import io

from cxrlt_cli.report.formats import as_csv, as_html, as_latex, as_markdown
from cxrlt_cli.report.plain_table import Table

TABLE = Table("Scores of a_b", ("Finding", "AP"), [("mass & <nodule>", "0.4 %"), ('a|b, "c"', "−0.1")], "Less than 5 %")


def test_a_csv_reads_back() -> None:
    assert list(csv.reader(io.StringIO(as_csv(TABLE)))) == [list(TABLE.columns), *map(list, TABLE.rows)]


def test_marks_of_each_language_are_text() -> None:
    markdown = as_markdown(TABLE).splitlines()
    assert markdown[2:4] == ["| Finding | AP |", "| --- | ---: |"]
    assert markdown[4] == r"| mass & \<nodule> | 0.4 % |"
    assert r"a\|b" in markdown[5]
    latex = as_latex(TABLE)
    assert r"mass \& \textless{}nodule\textgreater{} & 0.4 \% \\" in latex
    assert r"\caption{Scores of a\_b}" in latex
    assert r"$-$0.1" in latex
    page = as_html(TABLE)
    assert "mass &amp; &lt;nodule&gt;" in page
    assert page.count("<tr>") == 3
