"""``cxrlt models``: what can be fetched, fetching it, checking what was fetched."""

from pathlib import Path

from cxrlt_cli.config import ModelsListOptions, ModelsPullOptions, ModelsVerifyOptions
from cxrlt_cli.engine.next_step import tell_next
from cxrlt_cli.engine.reporter import Reporter, counted
from cxrlt_cli.errors import CheckpointError, listed
from cxrlt_cli.nets import hub
from cxrlt_cli.nets.clip import PHANTOM_CLIP
from cxrlt_cli.nets.manifest import MANIFEST, Manifest, verified

DEMONSTRATION = "phantom-clip"


def list_models(_: ModelsListOptions, reporter: Reporter) -> None:
    """The models that have a name, and where they are on this machine; encoders, and which films they have seen."""
    rows = [
        (
            source.name,
            source.about,
            source.licence,
            hub.FLAGS[source.kind].format("").replace(" as ", "").strip(),
            str(hub.home(source)) if hub.home(source).exists() else "–",
        )
        for source in hub.catalogue()
        if source.kind != "encoder"
    ]
    rows.append((DEMONSTRATION, "a demonstration, of phantoms alone", "Apache-2.0", "--model", "in cxrlt"))
    reporter.table("Models", ("name", "what", "licence", "passed as", "where"), rows)
    sources = [source for source in hub.catalogue() if source.encoder is not None]
    encoders = [(source.encoder, "yes" if hub.home(source).exists() else "–") for source in sources if source.encoder]
    reporter.table(
        "Encoders, passed as --backbone",
        ("name", "what", "films seen", "licence", "px", "here"),
        [(one.name, one.about, ", ".join(one.films), one.licence, str(one.image_size), here) for one, here in encoders],
    )
    for one, _here in encoders:
        if one.terms:
            reporter.note(f"{one.name}: {one.terms}.")
    reporter.note(
        "Also: the weights of any timm backbone, by its name, and any open_clip model of the hub, as hf-hub:OWNER/NAME."
    )


def pull_model(options: ModelsPullOptions, reporter: Reporter) -> None:
    """Fetch a model from the hub into ``--out``, or into the cache where commands find it by its name."""
    source = hub.find(options.name)
    folder = options.out or hub.home(source)
    if options.out is None and folder.exists():
        verified(folder)
        reporter.result(f"{source.name} is already in {folder}, complete.")
        return
    reporter.note(f"Fetching {source.repository} ({source.licence}) ...")
    hub.pull(source, folder)
    manifest = Manifest.read(folder)
    reporter.result(
        f"Wrote {folder}: {source.repository} at {manifest.revision[:7]}, licence {manifest.licence}. "
        f"Pass {_use(source, folder, by_name=options.out is None)}."
    )
    passed = hub.FLAGS[source.kind].format(folder).split(" ", 1)
    if source.kind == "classifier":
        tell_next(reporter, "infer", folder, "--csv", "FILMS.csv")
    elif source.kind == "open_clip":
        tell_next(reporter, "ood", "--csv", "FILMS.csv", *passed)
    else:
        tell_next(reporter, "train", "--csv", "LABELS.csv", *passed)


def _use(source: hub.Source, folder: Path, by_name: bool) -> str:
    """How other commands take what was fetched; WhyXrayCLIP is a model for ``ood``, and an encoder too."""
    passed = hub.FLAGS[source.kind].format(source.name if by_name and source.kind == "open_clip" else folder)
    if source.encoder is None:
        return passed
    trained = f"--backbone {source.name}" if by_name else f"--weights {folder}"
    return trained if source.kind == "encoder" else f"{passed}, or {trained} to train"


def verify_model(options: ModelsVerifyOptions, reporter: Reporter) -> None:
    """Hold a fetched model, by its name or its folder, against its manifest."""
    folder = _folder(options.name)
    manifest = verified(folder)
    extra = [p.name for p in sorted(folder.iterdir()) if p.name not in (*manifest.files, MANIFEST)]
    if extra:
        reporter.warn(f"{folder} also holds {listed(extra)}, which its manifest does not list.")
    files = counted(len(manifest.files), "file")
    reporter.result(f"{folder} is complete: {files} of {manifest.repository} at {manifest.revision[:7]}.")


def _folder(name: str) -> Path:
    if name == DEMONSTRATION:
        return PHANTOM_CLIP
    if Path(name).is_dir():
        return Path(name)
    source = hub.find(name)
    if not hub.home(source).exists():
        raise CheckpointError(f"{name} is not on this machine.", f"Fetch it: cxrlt models pull {name}")
    return hub.home(source)
