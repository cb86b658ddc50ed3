"""What is kept under version control: text, and little else."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 2_000_000  # bytes of a file, as of what a released version wrote


@pytest.fixture(scope="module")
def kept() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone: there is nothing to list")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]
    assert len(paths) > 400
    return paths


def test_no_large_file_and_no_package_is_kept(kept: list[Path]) -> None:
    large = [path.name for path in kept if path.suffix == ".whl" or path.stat().st_size > MOST]
    assert large == ["open_clip_model.safetensors"], "phantom-clip, and nothing else"
    top = {path.relative_to(ROOT).parts[0] for path in kept}
    known = {"cxrlt_cli", "tests", "completions", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} == known


def test_no_file_has_a_merge_half_done(kept: list[Path]) -> None:
    marks = (b"<<<<<<< ", b">>>>>>> ")
    found = [path.name for path in kept if any(line.startswith(marks) for line in path.read_bytes().splitlines())]
    assert not found
