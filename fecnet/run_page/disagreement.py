"""The section of triplets and faces on which net and annotators disagree, of all evaluated splits."""

from __future__ import annotations

from fecnet.data.packed import PackedDataset
from fecnet.data.triplet_splits import split_triplets
from fecnet.run_page.failures import triplet_failures, triplet_sheet, wrong_face_sheet, wrong_faces
from fecnet.run_page.markup import Child, Markup, element
from fecnet.run_page.run_record import RunRecord
from fecnet.utils.errors import UserError

_LEGEND = "shown are the most confident errors of each type, with the odd face of the annotators and of the net."


def disagreement_section(run: RunRecord) -> list[Child]:
    """Triplets by split, then labelled faces.

    Raises:
        UserError: a file of the run is damaged or does not fit its data.
    """
    if run.dataset is None:
        return [no_faces(run)]
    parts = [*_triplets(run, run.dataset), *_labelled_faces(run, run.dataset)]
    return parts or [element("p", "Neither triplets nor classes were evaluated.", class_="absent")]


def no_faces(run: RunRecord) -> Markup:
    """Why there are no faces."""
    return element("p", f"No faces on this page: {run.no_faces}", class_="absent")


def _triplets(run: RunRecord, dataset: PackedDataset) -> list[Child]:
    embedded = run.arrays("embeddings", ("embedding",))
    if "triplets" not in run.tables or embedded is None:
        return []
    parts: list[Child] = []
    data = run.config.DATA
    for split in run.tables["triplets"]["splits"]:
        triplets = split_triplets(dataset, split, train_split=data.TRAIN_SPLIT, hold_out=data.HOLD_OUT)
        try:
            failures, counts = triplet_failures(triplets, embedded["rows"], embedded["embedding"])
        except UserError as error:
            raise UserError(f"{run.path / 'evaluation' / 'embeddings.npz'}: {error}") from error
        counted = ", ".join(f"{row} {count:,}" for row, count in counts.items())
        text = f"Wrong triplets: {counted} of {len(triplets):,}; {_LEGEND}"
        parts += [element("h4", f"{split}: triplets"), element("p", text, class_="note")]
        parts.append(triplet_sheet(dataset, failures))
    return parts


def _labelled_faces(run: RunRecord, dataset: PackedDataset) -> list[Child]:
    predicted = run.arrays("predictions", ("label", "probability"))
    if "classes" not in run.tables or predicted is None:
        return []
    faces, num = wrong_faces(predicted["rows"], predicted["label"], predicted["probability"])
    known = int((predicted["label"] >= 0).sum())
    text = (
        f"{num:,} of {known:,} labelled faces of all evaluated splits are misclassified; shown are the most confident "
        "errors, at most three for each pair of label and predicted class. First the label, then the prediction."
    )
    return [
        element("h4", "Faces: label and predicted class"),
        element("p", text, class_="note"),
        wrong_face_sheet(dataset, faces, run.best.classes),
    ]
