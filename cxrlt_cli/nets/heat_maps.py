"""Where on a film each finding was looked for, whatever the backbone and the head.

Letters: N films, C findings, D features, H x W feature map.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.nets.heads import CSRA, MLDecoder

Kind = Literal["attention", "Grad-CAM"]

# The attention of csra-winner is a layer apart from its classifier, with a tenth of the weight in a logit: on phantoms
# it peaked in the box of a finding on 31 % of films, Grad-CAM of the same head on 45 %.
ATTENTIVE = (CSRA, MLDecoder)


def kind_of(model: Classifier) -> Kind:
    """Which kind of map ``heat_maps`` gives for a model."""
    return "attention" if isinstance(model.head, ATTENTIVE) else "Grad-CAM"


def heat_maps(model: Classifier, features: Tensor, findings: Sequence[str] | None = None) -> Tensor:
    """Maps ``[N, C, H, W]`` in float32 from a feature map ``[N, D, H, W]`` of the model; None: of all its findings.

    Of csra and mldecoder the attention, which sums to 1 over the map; otherwise ``grad_cam``, scaled to sum to 1,
    or 0 everywhere where no place speaks for the finding. The model is in eval mode: in training, batch norm would mix
    the films.
    """
    assert not model.training, "maps are of a model that predicts"
    columns = [model.findings.index(name) for name in (model.findings if findings is None else findings)]
    with torch.autocast(features.device.type, enabled=False):
        if isinstance(model.head, ATTENTIVE):
            with torch.no_grad():
                return model.head.attend(model.bn(features.float()))[1][:, columns]
        maps = grad_cam(lambda seen: model.head(model.bn(seen)), features.float(), columns)
    return maps / maps.sum(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def grad_cam(head: Callable[[Tensor], Tensor], features: Tensor, columns: Sequence[int]) -> Tensor:
    """Grad-CAM ``[N, C, H, W]`` of some of the logits that ``head`` makes of a feature map ``[N, D, H, W]``.

        a_cd = mean_k d logit_c / d x_kd;    map_c(k) = relu(sum_d a_cd x_kd)

    Selvaraju et al., ICCV 2017, arXiv:1610.02391, at the last map of the backbone, so that no gradient goes through it.
    Of a linear head it is the positive part of the class activation map, divided by H W (Zhou et al., CVPR 2016,
    arXiv:1512.04150). One finding at a time: memory does not grow with their number.
    """
    with torch.inference_mode(False), torch.enable_grad():
        features = features.clone().requires_grad_()  # of inference mode, it would have no gradient
        logits = head(features)
        maps = []
        for column in columns:
            (gradient,) = torch.autograd.grad(logits[:, column].sum(), features, retain_graph=True)
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            maps.append((weights * features.detach()).sum(dim=1).relu())
    return torch.stack(maps, dim=1)
