# SPDX-License-Identifier: Apache-2.0
"""Documents as they are kept: JSON text, so that every store holds, and gives back, exactly what JSON can hold."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fastlb.store import Drop, Put

_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(dict[str, Any]).decode


def _check_names(type_: object, id_: object) -> None:
    if not isinstance(type_, str) or not isinstance(id_, str):
        raise TypeError(f"type and id of a row are strings, not {type_!r} and {id_!r}")
    type_.encode(), id_.encode()  # raises what a file could not hold: half of a surrogate pair


def encode_changes(puts: Iterable[Put], drops: Iterable[Drop]) -> tuple[dict[Drop, bytes], dict[Drop, None]]:
    """The rows to write, with their JSON, and those to drop: each row once, in the order given. It is done before a
    store takes its lock, so what JSON cannot hold is refused before anything is written."""
    gone = dict.fromkeys(drops)
    for type_, id_ in gone:
        _check_names(type_, id_)
    written: dict[Drop, bytes] = {}
    for type_, id_, document in puts:
        _check_names(type_, id_)
        if not isinstance(document, Mapping):
            raise TypeError(f"{type_} {id_}: a document is a mapping, not {type(document).__name__}")
        if (type_, id_) not in gone:
            written[type_, id_] = _encode(document if isinstance(document, dict) else dict(document))
    return written, gone
