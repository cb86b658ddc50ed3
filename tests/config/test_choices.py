from collections.abc import Mapping

import pytest

from cxrlt_cli import losses, tta
from cxrlt_cli.config import choices
from cxrlt_cli.data import sampling
from cxrlt_cli.nets import heads
from cxrlt_cli.scores import merging
from cxrlt_cli.training import tracking


@pytest.mark.parametrize(
    ("named", "registry", "contract"),
    [
        (choices.HEADS, heads.HEADS, "linear mlp csra csra-winner mldecoder"),
        (
            choices.LOSSES,
            losses.LOSSES,
            "bce weighted-bce focal cb-focal asl asl-exp ral hill twoway ldam ldam-drw db db-lite mfm",
        ),
        (choices.SAMPLERS, sampling.SAMPLERS, "uniform cas rfs rfs-label-share sqrt progressive"),
        (choices.VIEWS, tta.VIEWS, "none flip light medium heavy flip_scale"),
        (choices.MERGES, merging.MERGES, "mean logit_mean gmean median max rank"),
        (choices.TRACKERS, {**tracking.TRACKERS, "none": None}, "tensorboard wandb mlflow none"),
    ],
    ids=["heads", "losses", "samplers", "views", "merges", "trackers"],
)
def test_what_can_be_chosen_is_what_there_is_and_what_the_contract_names(
    named: Mapping[str, str], registry: Mapping[str, object], contract: str
) -> None:
    assert set(named) == set(registry) == set(contract.split())


def test_choices_of_the_same_words_share_a_line() -> None:
    told = choices.choices_help("What.", {"a": "one.", "b": "two.", "c": "one."})
    assert told == "What.\n\na, c: one.\n\nb: two."
