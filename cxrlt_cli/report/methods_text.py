"""The methods paragraph of a report: what is known of a run, in plain English, and nothing else."""

from pathlib import PurePath
from typing import Any

from cxrlt_cli import __version__
from cxrlt_cli.report.ledger import Ledger, plain
from cxrlt_cli.report.paper_study import FACTS, FILMS, PREDICTIONS, TRAIN, Study

START = {
    "pretrained": "pretrained weights of timm",
    "imagenet": "weights pretrained on ImageNet",
    "none": "random weights",
}
HEADS = {
    "linear": "global average pooling and one linear layer",
    "mlp": "global average pooling and two layers",
    "csra": "class-specific residual attention (CSRA)",
    "mldecoder": "an ML-Decoder",
}
LOSSES = {
    "bce": "binary cross-entropy",
    "weighted-bce": "binary cross-entropy with weighted positives",
    "focal": "the focal loss",
    "cb-focal": "the class-balanced focal loss",
    "asl": "the asymmetric loss",
    "ral": "the robust asymmetric loss",
    "hill": "the Hill loss",
    "twoway": "the two-way loss",
    "ldam": "LDAM",
    "ldam-drw": "LDAM with deferred re-weighting",
    "db": "the Distribution-Balanced loss",
}
WEIGHTS = {"raw": "weights as trained", "ema": "averaged weights", "average": "weights averaged over the last epochs"}
SAMPLERS = {
    "uniform": "once an epoch, in random order",
    "cas": "by class-aware sampling",
    "rfs": "by repeat-factor sampling",
}


def methods(study: Study, ledger: Ledger) -> list[str]:
    """Paragraphs: films, model, training and scores; of predictions without a run, films and scores."""
    paragraphs = [[*_label_sentences(study, ledger), *partition_sentences(study, ledger)]]
    if study.is_run:
        paragraphs.append(list(model_sentences(study, ledger).values()))
        paragraphs.append(list(training_sentences(study, ledger).values()))
    paragraphs.append(score_sentences(study, ledger))
    return [" ".join(filter(None, one)) for one in paragraphs]


def _of(number: str, whose: str | None) -> str:
    return f"{number} films" + (f" of {whose} patients" if whose else "")


def _counted(study: Study, name: str, ledger: Ledger) -> str:
    films = study.parts[name]
    number = ledger.count(f"methods/{name}/films", int(films.sum()), FILMS, part=name)
    whose = study.num_patients(films)
    patients = None if whose is None else ledger.count(f"methods/{name}/patients", whose, FILMS, part=name)
    return _of(number, patients)


def _label_sentences(study: Study, ledger: Ledger) -> list[str]:
    labels = study.facts["labels"]
    names = " and ".join(f"{file['name']} (SHA-256 {file['sha256'][:12]}…)" for file in labels)
    number = ledger.count("methods/findings", len(study.predictions.findings), FACTS, key="findings")
    policy = study.facts.get("policy")
    return [
        f"Labels of {number} findings were read from {names}.",
        f"They were made by these rules: {policy}." if policy else "",
        _corrected(study, ledger),
    ]


def _corrected(study: Study, ledger: Ledger) -> str:
    files = study.facts.get("corrections")
    if not files:
        return ""
    names = " and ".join(f"{file['name']} (SHA-256 {file['sha256'][:12]}…)" for file in files)
    changed, films, confirmed = (
        ledger.count(f"methods/corrected/{key}", study.facts["corrected"][key], FACTS, key=f"corrected.{key}")
        for key in ("changed", "films", "confirmed")
    )
    return f"Labels were corrected after review by {names}: {changed} changed, on {films} films, {confirmed} confirmed."


def partition_sentences(study: Study, ledger: Ledger) -> list[str]:
    """How films were divided."""
    option, sentences = _option(study, ledger), []
    if study.in_folds:
        folds = option("folds")
        sentences.append(
            f"Films were divided by patient into {folds} folds, stratified by finding, the rarest first "
            f"(seed {option('split_seed') or option('seed')}). "
            "Each film was predicted by the model that was trained on the other folds."
        )
    elif TRAIN in study.parts:
        held = [name for name in study.parts if name != TRAIN]
        where = " and ".join(f"validated on {_counted(study, name, ledger)}" for name in held)
        sentences.append(f"The model was trained on {_counted(study, TRAIN, ledger)} and {where}.")
        if study.options.get("split") and not study.options.get("val_fraction"):
            sentences.append("The parts are those of the column Split of the labels.")
        if study.options.get("val_fraction") and not study.options.get("val_csv"):
            sentences.append(
                f"A share of {option('val_fraction')} was held out by patient, stratified by finding, the rarest first "
                f"(seed {option('split_seed') or option('seed')})."
            )
    return sentences


def _option(study: Study, ledger: Ledger) -> Any:
    """An option of the run as text, noted; empty where the run has none."""

    def told(name: str) -> str:
        value = study.options.get(name)
        if value is None:
            return ""
        return ledger(f"options/{name}", plain(value), FACTS, key=f"options.{name}")

    return told


def model_sentences(study: Study, ledger: Ledger) -> dict[str, str]:
    """The network, and what it is given."""
    option, model, options = _option(study, ledger), study.facts.get("model"), study.options
    if model is None:
        return {"network": "The network is not recorded: the run has no weights left."}
    begun = options.get("checkpoint") and f"the checkpoint {_last(options['checkpoint'])}"
    begun = begun or START.get(str(options.get("weights"))) or f"the weights {_last(options.get('weights'))}"
    films = ledger("methods/films", model["films"], FACTS, key="model.films")
    mean, deviation = (
        ledger(f"methods/{name}", plain(list(dict.fromkeys(model[name]))), FACTS, key=f"model.{name}")
        for name in ("mean", "std")
    )
    normal = f"mean {mean} and standard deviation {deviation}"
    known = study.record is not None and study.record["versions"]["cxrlt"] == __version__
    augmented = (
        "Training films were augmented at random: horizontal flips, translation, scaling, rotation, CLAHE, brightness "
        "and contrast, Gaussian noise and coarse dropout."
    )
    frozen = (
        "The backbone was frozen: features of each film, as it is and augmented at random, were computed once, and the "
        "head was trained on these."
    )
    bias = "The bias of each finding was initialised at its prevalence in the training films."
    return {
        "network": f"The network was {model['backbone']} with {HEADS.get(model['head'], model['head'])}, initialised "
        f"with {begun}.",
        "films": f"Films were resized to {films} and normalised with {normal}.",
        "augmented": frozen if options.get("frozen") else augmented if known else "",
        "bias": bias if options.get("prior_bias") else "",
        "depth": f"Stochastic depth was {option('drop_path')}." if options.get("drop_path") else "",
    }


def _last(path: Any) -> str:
    return PurePath(str(path)).name


def training_sentences(study: Study, ledger: Ledger) -> dict[str, str]:
    """Loss and sampler, phases, and what was kept."""
    option, options = _option(study, ledger), study.options
    loss = LOSSES.get(str(options.get("loss")), str(options.get("loss")))
    settings = f" ({option('loss_options')})" if options.get("loss_options") else ""
    adjusted = f", with logit adjustment {option('logit_adjust')}" if options.get("logit_adjust") else ""
    drawn = SAMPLERS.get(str(options.get("sampler")), f"by the sampler {options.get('sampler')}")
    drawn += f" ({option('sampler_options')})" if options.get("sampler_options") else ""
    phases = []
    decay = "linear warm-up and cosine decay"
    if options.get("frozen") or options.get("retrain_head"):
        phases.append(f"the head alone for {_epochs(option('epochs'))} (learning rate {option('lr_head')}, {decay})")
    else:
        if options.get("warmup_epochs"):
            alone = _epochs(option("warmup_epochs"))
            phases.append(f"the head alone for {alone} (learning rate {option('lr_warmup')})")
        if options.get("epochs"):
            rates = f"learning rates {option('lr_head')} of the head and {option('lr_backbone')} of the backbone"
            phases.append(f"the whole network for {_epochs(option('epochs'))} ({rates}, {decay})")
    stops = [f"after {option('max_steps')} steps"] if options.get("max_steps") else []
    stops += [f"when AP had not risen for {_epochs(option('patience'))}"] if options.get("patience") else []
    batch = f"in batches of {option('batch_size')} films"
    batch += f", {option('accumulate')} of them a step" if options.get("accumulate", 1) != 1 else ""
    averaged = f"An exponential moving average of the weights ({_decay(study, ledger)}) was kept beside them"
    averaged += ", and evaluated." if study.in_folds else "."
    best = f"Of all epochs, the one with the highest macro AP on the validation films was kept{_best(study, ledger)}."
    seeds = f"It was repeated with {option('seeds')} seeds, whose predictions were averaged."
    return {
        "loss": f"The loss was {loss}{settings}{adjusted}; films were drawn {drawn}.",
        "phases": f"AdamW (weight decay {option('weight_decay')}, {batch}, seed {option('seed')}) trained "
        f"{', then '.join(phases)}{f'; it stopped {chr(32).join(stops)}' if stops else ''}.",
        "averaged": averaged if options.get("ema_decay") else "",
        "kept": "The last epoch was kept." if study.in_folds else best,
        "seeds": seeds if options.get("seeds") else "",
    }


def _epochs(number: str) -> str:
    return f"{number} epoch{'' if number == '1' else 's'}"


def _decay(study: Study, ledger: Ledger) -> str:
    """The most that the decay may be, and what the warm-up of ``ModelEmaV3`` of timm had made of it at the end."""
    most = f"decay rising with warm-up to at most {_option(study, ledger)('ema_decay')}"
    decays = study.facts.get("ema_decays")
    if not decays:
        return most
    values = list(dict.fromkeys(f"{decay:.4f}" for decay in (min(decays), max(decays))))
    reached = ledger("methods/ema_decay", " to ".join(values), FACTS, key="ema_decays")
    return f"{most}, {reached} at the last step"


def _best(study: Study, ledger: Ledger) -> str:
    best = study.facts.get("best")
    if not best:
        return ""
    epoch = ledger("methods/best_epoch", str(best["epoch"]), FACTS, key="best.epoch")
    number = ledger("methods/num_epochs", str(best["num_epochs"]), FACTS, key="best.num_epochs")
    return f" (epoch {epoch} of {number}, {WEIGHTS.get(best['weights'], best['weights'])})"


def score_sentences(study: Study, ledger: Ledger) -> list[str]:
    """What was computed, and its intervals."""
    judged = ledger.count("judged/films", len(study.predictions.ids), PREDICTIONS)
    patients = None
    if study.facts["has_patients"]:
        patients = ledger.count("judged/patients", study.truth.num_patients, FILMS)
    number = study.facts["bootstrap"]
    unit = "patients" if patients else "films (whose patients are not known)"
    interval = (
        f"95 % confidence intervals are by bootstrap over {unit} "
        f"({ledger.count('methods/bootstrap', number, FACTS, key='bootstrap')} resamples, seed "
        f"{ledger('methods/seed', str(study.facts['seed']), FACTS, key='seed')}), "
        "on the arcsine scale for AP and the logit scale for AUROC, their standard error being the root mean square "
        "distance of the resamples from the estimate, with Student's t."
        if number
        else ""
    )
    return [
        f"Average precision (AP) and the area under the ROC curve (AUROC) were computed on {_of(judged, patients)} for "
        "each finding, over the films labelled for it; macro values are unweighted means over the findings with a "
        "positive film.",
        interval,
    ]
