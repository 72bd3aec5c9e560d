"""Contact sheet of query faces and their nearest neighbours in the embedding.

Shape suffixes: Q queries, K cells of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fecnet.evaluation.contact_sheet import contact_sheet
from fecnet.evaluation.nearest import all_distances, nearest


def neighbour_sheet(
    faces_NHWC: np.ndarray,
    rows: np.ndarray,
    embedding_ND: np.ndarray,
    path: Path,
    *,
    num_queries: int = 6,
    num: int = 7,
) -> None:
    """Write a contact sheet: in each row a query face, then its nearest neighbours with their squared distances.

    Queries are chosen by farthest-point sampling, so the sheet covers the range of expressions.

    Args:
        faces_NHWC: all faces, uint8.
        rows: rows of the embedded faces, shape (N,).
        embedding_ND: their embeddings, float32, shape (N, D).
        path: PNG to write.
        num_queries: rows of the sheet.
        num: neighbours per query.
    """
    chosen = _farthest(embedding_ND, min(num_queries, len(rows)))
    found = nearest(embedding_ND, embedding_ND[chosen], min(num + 1, len(rows)))
    # the query comes first, even where copies of it exist
    own_QK = found.row_QK == chosen[:, None]
    own_QK[~own_QK.any(1), -1] = True
    first_QK = np.argsort(~own_QK, axis=1, kind="stable")
    row_QK = np.take_along_axis(found.row_QK, first_QK, 1)
    row_QK[:, 0] = chosen
    distance_QK = np.take_along_axis(found.distance_QK, first_QK, 1)
    captions = [["query", *(f"{distance:.3f}" for distance in row[1:])] for row in distance_QK.tolist()]
    sheet_of_rows(faces_NHWC[rows[row_QK]], captions, path)


def _farthest(embedding_ND: np.ndarray, num: int) -> np.ndarray:
    """Farthest-point sampling: the first face, then always the face farthest from all those before it."""
    chosen = [0]
    nearest_N = all_distances(embedding_ND, embedding_ND[:1])[0]
    while len(chosen) < num:
        nearest_N[chosen] = -1  # never chosen twice, even where only copies are left
        chosen.append(int(nearest_N.argmax()))
        nearest_N = np.minimum(nearest_N, all_distances(embedding_ND, embedding_ND[chosen[-1:]])[0])
    return np.array(chosen)


def sheet_of_rows(face_QKHWC: np.ndarray, captions: Sequence[Sequence[str]], path: Path) -> None:
    """Write a contact sheet with a row per query: its face and its neighbours; small faces are enlarged.

    Args:
        face_QKHWC: uint8, shape (Q, K, H, W, C).
        captions: K short captions for each row.
        path: PNG to write.
    """
    image_NHWC = face_QKHWC.reshape(-1, *face_QKHWC.shape[2:])
    enlarge = max(1, 96 // image_NHWC.shape[1])
    image_NHWC = image_NHWC.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    contact_sheet(image_NHWC, face_QKHWC.shape[1], path, [text for row in captions for text in row])
