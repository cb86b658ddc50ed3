import pytest
from pydantic import ValidationError

from cxrlt_cli import config
from cxrlt_cli.config import Options


@pytest.mark.parametrize(("model", "given", "said"), [
    (config.InferOptions, {"checkpoint": "m", "decide": "f1"}, "--decisions"),
    (config.InferOptions, {"checkpoint": "m", "normal": "Normal"}, "--postprocess"),
    (config.InferOptions, {"checkpoint": "m", "merge": "max"}, "--tta"),
    (config.InferOptions, {"checkpoint": "m", "nearest": "n.csv"}, "--among"),
    (config.InferOptions, {"checkpoint": "m", "among": "e.npz"}, "--nearest"),
    (config.EvaluateOptions, {"predictions": ["p.csv"], "among": "e.npz", "report": "r.html"}, "--checkpoint"),
    (config.EnsembleOptions, {"members": ["m", "n"], "normal": "Normal"}, "--postprocess"),
    (config.TrainOptions, {"image_dir": "films"}, "--csv"),
    (config.TrainOptions, {"run_id": "mine"}, "--nodes"),
    (config.FinetuneOptions, {"checkpoint": "m", "lr_warmup": 0.1}, "--warmup-epochs"),
    (config.FinetuneOptions, {"checkpoint": "m", "retrain_head": True, "layer_decay": 0.5}, "--layer-decay"),
    (config.TrainOptions, {"csv": "a.csv", "epochs": 0, "average_last": 3}, "--average-last"),
])  # fmt: skip
def test_no_option_is_ignored_in_silence(model: type[Options], given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model.model_validate(given)
