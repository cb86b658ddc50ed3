"""What is made and checked before any process starts to train: the model, its head and batches, and every film."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cxrlt_cli.config import STEP, FitOptions, changed, flags
from cxrlt_cli.data.image import Preprocessing
from cxrlt_cli.engine.films import LabelledFilms, check_films
from cxrlt_cli.engine.reporter import Reporter
from cxrlt_cli.engine.sources import keep_films
from cxrlt_cli.errors import OptionError
from cxrlt_cli.nets.batch_norm import starved
from cxrlt_cli.nets.checkpoints import Architecture
from cxrlt_cli.nets.classifier import Classifier
from cxrlt_cli.training.schedule import phases_of


def new_model(
    architecture: Architecture,
    training: LabelledFilms,
    preprocessing: Preprocessing,
    options: FitOptions,
    weights: Mapping[str, Tensor] | None = None,
) -> Classifier:
    """A classifier of the findings of the training films, drawn from ``--seed``; its backbone from ``weights``.

    Raises OptionError where its head does not go with the options.
    """
    _check_head(architecture.head, options)
    torch.manual_seed(options.seed)
    findings = training.table.space.findings
    model = Classifier(architecture, findings, preprocessing, drop_path=options.drop_path, weights=weights)
    _check_patches(model)
    return model


def _check_patches(model: Classifier) -> None:
    """Raise OptionError where patches of a transformer would leave out the last rows or columns of a film.

    Patches that overlap are padded, and leave out none.
    """
    patches = getattr(getattr(model.backbone, "patch_embed", None), "proj", None)
    if not isinstance(patches, nn.Conv2d) or patches.stride != patches.kernel_size:
        return
    for side, patch in zip(model.image_shape, patches.stride, strict=True):
        if side % patch:
            below = side // patch * patch
            raise OptionError(
                f"--image-size: {side} does not fit {model.architecture.backbone}, with patches of {patch} pixels.",
                f"Pass {' or '.join(str(size) for size in (below, below + patch) if size >= 32)}.",
            )


def read_once(
    training: LabelledFilms,
    validation: LabelledFilms,
    preprocessing: Preprocessing,
    options: FitOptions,
    reporter: Reporter,
) -> None:
    """Every film, into ``--cache`` if there is one; raises DataError with all that cannot be read.

    With ``frozen`` and no cache they are read when their features are computed.
    """
    if options.frozen and options.cache is None and not options.dry_run:
        return
    if options.cache is None or options.dry_run:
        check_films(training, validation, options, reporter)
        return
    paths = [training.paths, validation.paths]
    keep_films(paths, sum(map(len, paths)), [preprocessing], options, reporter)


def _check_head(head: str, options: FitOptions) -> None:
    """Raise OptionError where the head and its options do not go together."""
    of_csra = {"csra_heads": ("csra",), "csra_lambda": ("csra", "csra-winner")}
    for name in changed(options) & set(of_csra):
        if head not in of_csra[name]:
            raise OptionError(f"{flags(options, [name])} has no effect with --head {head}.", "Leave it out.")


def check_batches(model: Classifier, num_films: int, options: FitOptions, num_processes: int = 1) -> None:
    """Raise OptionError where a batch norm that learns would see one value of a feature: that has no variance.

    ``num_processes``: that compute together, whose batch norms are synchronized. Random generators are left as they
    were.
    """
    if num_processes > 1 or min(STEP if options.batch == "auto" else options.batch, num_films) > 1:
        return

    def learn(model: Classifier) -> None:
        model.train()
        if all(phase.trains == "head" for phase in phases_of(options)):
            model.backbone.eval()
        model(torch.zeros(1, 3, *model.image_shape))

    with torch.random.fork_rng([]):
        name = starved(model, learn)
    if name is not None:
        whose = "--head " + model.architecture.head
        if name.startswith("backbone."):
            size = "x".join(map(str, dict.fromkeys(model.image_shape)))
            whose = f"--backbone {model.architecture.backbone} at --image-size {size}"
        hint = (
            "Raise --batch-size." if num_films > 1 else "There is one film to train on; pass another backbone or head."
        )
        raise OptionError(f"{whose} needs batches of 2 films or more, for its batch norm.", hint)
