"""What phantom-clip was told has nothing of the wording that it is judged with."""

import re

from cxrlt_cli import prompts
from cxrlt_cli.phantom.signs import SIGNS
from tests.phantom_clip.train import CAPTIONS


def words(sentence: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+", sentence.lower()))


def runs(sentence: str, length: int) -> set[tuple[str, ...]]:
    said = words(sentence)
    return {said[start : start + length] for start in range(len(said) - length + 1)}


def test_captions_describe_every_sign_and_share_no_wording_with_the_prompts() -> None:
    captions, own = prompts.read(CAPTIONS), prompts.read()
    assert set(captions.findings) == set(SIGNS)
    told = [caption for group in (*captions.findings.values(), captions.anchors) for caption in group]
    asked = [prompt for group in (*own.findings.values(), own.anchors) for prompt in group]
    four = set().union(*(runs(prompt, 4) for prompt in asked))
    for caption in told:
        assert not runs(caption, 4) & four, caption
        assert not [prompt for prompt in asked if words(prompt) in runs(caption, len(words(prompt)))], caption
