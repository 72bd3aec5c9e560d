"""Contact sheet of query faces and their nearest neighbours in the embedding.

Shape suffixes: Q queries, K cells of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fecnet.evaluation.contact_sheet import contact_sheet


def neighbour_sheet(
    faces_NHWC: np.ndarray, rows: np.ndarray, embedding_ND: Tensor, path: Path, *, num_queries: int = 6, num: int = 7
) -> None:
    """Write a contact sheet: in each row a query face, then its nearest neighbours with their squared distances.

    Queries are chosen by farthest-point sampling, so the sheet covers the range of expressions.

    Args:
        faces_NHWC: all faces, uint8.
        rows: rows of the embedded faces, shape (N,).
        embedding_ND: their embeddings, shape (N, D).
        path: PNG to write.
        num_queries: rows of the sheet.
        num: neighbours per query.
    """
    chosen = [0]
    while len(chosen) < min(num_queries, len(rows)):
        nearest_N = torch.cdist(embedding_ND, embedding_ND[chosen]).amin(1)
        chosen.append(int(nearest_N.argmax()))
    distance_QN = torch.cdist(embedding_ND[chosen], embedding_ND)
    num = min(num + 1, len(rows))
    found = distance_QN.topk(num, largest=False)  # each query is its own nearest
    face_QKHWC = faces_NHWC[rows[found.indices.numpy()]]
    captions = [["query", *(f"{d * d:.3f}" for d in row[1:])] for row in found.values.tolist()]
    sheet_of_rows(face_QKHWC, captions, path)


def sheet_of_rows(face_QKHWC: np.ndarray, captions: Sequence[Sequence[str]], path: Path) -> None:
    """Write a contact sheet with a row per query: its face and its neighbours; small faces are enlarged.

    Args:
        face_QKHWC: uint8.
        captions: K short captions for each row.
        path: PNG to write.
    """
    image_NHWC = face_QKHWC.reshape(-1, *face_QKHWC.shape[2:])
    enlarge = max(1, 96 // image_NHWC.shape[1])
    image_NHWC = image_NHWC.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    contact_sheet(image_NHWC, face_QKHWC.shape[1], path, [text for row in captions for text in row])
