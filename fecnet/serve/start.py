"""Builds a server, logs its address, and serves until it is stopped."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from fecnet.data.packed import PackedDataset
from fecnet.encoder.encoder import Encoder
from fecnet.search.index import Index
from fecnet.serve.app import build_app
from fecnet.serve.face_map import FaceMap
from fecnet.serve.gallery import Gallery
from fecnet.serve.requests import MAX_BODY
from fecnet.web.guard import LOOPBACK, Policy
from fecnet.web.server import address_of, is_loopback, serve
from fecnet.web.tokens import new_token

logger = logging.getLogger(__name__)


def start(
    encoder: Encoder,
    listening: socket.socket,
    *,
    index: Index | None = None,
    dataset: Path | None = None,
    whole: bool = False,
) -> None:
    """Serve a net until SIGINT or SIGTERM.

    Args:
        encoder: the net.
        listening: bound socket; if other machines can reach it, a token is created and required.
        index: the index for similar expressions; None for none.
        dataset: the data set for the map; None for none.
        whole: each photo is a face.

    Raises:
        UserError: the detector is missing; the index was built with another net; or the faces of the data set do not
            fit the net.
    """
    if not whole:
        encoder.check_detector()
    if index is not None:
        index.check_model(encoder)
    gallery = None if index is None else Gallery(index)
    face_map = None if dataset is None else FaceMap(encoder, PackedDataset(dataset))
    host = listening.getsockname()[0]
    token = "" if (local := is_loopback(host)) else new_token()
    policy = Policy(MAX_BODY, hosts=(*LOOPBACK, host) if local else (), token=token)
    app = build_app(encoder, whole=whole, gallery=gallery, face_map=face_map, policy=policy)
    if not local:
        logger.warning("other machines reach this server: who has the link may use it; it is not encrypted")
    logger.info(f"{encoder.name}: {address_of(listening, token)} (Ctrl-C ends it)")
    serve(app, listening)
