import pytest

from cxrlt_cli.names import MAX_LENGTH, fault_of_id, fault_of_name, meant, nearest, shown, visible


@pytest.mark.parametrize("name", [
    "a.png", "00000150_002.png", "p10/p10000032/s50414267/0f.jpg", "Größe 3, <b>", "it's",
    "a=b", "a-b+c@d", "..a", "a..b",
    "+1",
    "-12.png", "-1.5", "+3_001.dcm", "-12abc.png", "a;b", "a; -3", "心影增大", "~/a.png", "C.png",
])  # fmt: skip
def test_names_that_films_have_are_taken(name: str) -> None:
    assert fault_of_id(name) is None


@pytest.mark.parametrize("name", [
    "=1+1", "=HYPERLINK(\"http://x\",\"y\")", "@SUM(A1)",
    "+A1", "-A1", "-1-A1", "+1+cmd|' /C calc'!A0", "-12.png+A1", "-(1)",
    "-x.png", "+", "=", "＝1+1", "＋A1", "－A1", "＠x", "a;=1+1", "a; @x", "-1|x", "-1!A1", "-٣",
])  # fmt: skip
def test_what_a_spreadsheet_would_run_is_refused(name: str) -> None:
    assert fault_of_name(name) == fault_of_id(name) == "a spreadsheet would run as a formula"


@pytest.mark.parametrize("film", [
    "../a.png", "a/../../b.png", "..", "/etc/passwd", "//host/share", "\\\\host\\share", "\\a", "C:\\a.png", "c:a.png",
    "x\\..\\..\\b.png", "a/.. /b.png",
])  # fmt: skip
def test_ids_that_leave_the_folder_are_refused(film: str) -> None:
    assert fault_of_id(film) == "leaves the image folder"


@pytest.mark.parametrize(("name", "said"), [
    ("", "is empty"),
    ("x" * (MAX_LENGTH + 1), "is longer than 1,024 characters"),
    (" a", "begins or ends with a space"),
    ("a\u00a0", "begins or ends with a space"),
    *((f"a{letter}b", "holds a control character or half a character") for letter in "\0\t\n\r\x1b\x7f\x9b\ud800"),
])  # fmt: skip
def test_what_is_no_name_is_refused(name: str, said: str) -> None:
    assert fault_of_name(name) == said


def test_a_name_is_shown_on_one_line_and_cut() -> None:
    assert shown("a\n\x1b[2J") == r"'a\n\x1b[2J'"
    assert len(shown("x" * 10**6)) < 100


@pytest.mark.parametrize(("text", "seen"), [
    ("plain text\non two lines", None), ("Größe 3 µm – “x” 心影增大 ز\u200cن", None),
    ("\x1b]0;x\x07", r"\x1b]0;x\x07"), ("a\rb\tc\x00\x7f", r"a\rb\tc\x00\x7f"), ("\x9b31m\x85", r"\x9b31m\x85"),
    ("\u202eab\u2066\u200f", r"\u202eab\u2066\u200f"),
    ("\ud800\udcff", r"\ud800\udcff"), ("\u2028\ufeff", r"\u2028\ufeff"),
    ("\U000e0041", r"\U000e0041"),
])  # fmt: skip
def test_what_steers_a_terminal_or_hides_is_written_out(text: str, seen: str | None) -> None:
    assert visible(text) == (text if seen is None else seen)


@pytest.mark.parametrize(("name", "known", "close"), [
    ("ImageId", ["PatientID", "ImageID"], "ImageID"), ("bd", ["bce", "db", "db-lite"], "db"),
    ("pleural effusion", ["Pleural_Effusion", "Fracture"], "Pleural_Effusion"),
    ("lables.csv", ["labels.csv"], "labels.csv"),
    ("Age", ["ImageID", "PatientID", "PatientAge"], "PatientAge"), ("sex", ["PatientSex", "Split"], "PatientSex"),
    ("zzz", ["Mass", "Nodule"], None), ("", [], None),
])  # fmt: skip
def test_the_nearest_name_is_found(name: str, known: list[str], close: str | None) -> None:
    assert nearest(name, known) == close
    assert meant(name, known) == (f" Did you mean {close}?" if close else "")
