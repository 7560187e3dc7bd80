"""Results: what a job returns, as JSON that everybody can read again."""

import re
from itertools import accumulate

import msgspec

_MAX_DEPTH = 100
"""Levels of lists and objects: who reads a result later may have less of a stack left than the job had."""
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]')
"""Of JSON, its strings, and what opens or closes a level."""
_read = msgspec.json.Decoder(msgspec.Raw).decode


def encoded(result: object) -> msgspec.Raw:
    """Return a result as JSON; raises TypeError, ValueError or RecursionError if it has none."""
    text = msgspec.json.encode(result)
    # A msgspec.Raw of the job's own goes in unread: no row of its message, or of its marker, could be read again.
    _read(text.decode())
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise ValueError(f"the job's result is nested more than {_MAX_DEPTH} levels deep")
    return msgspec.Raw(text)


def _depth(text: bytes) -> int:
    """Return how many levels a JSON text has, without going down into them."""
    tokens = (found[0] for found in _TOKENS.finditer(text))
    return max(accumulate((token in b"[{") - (token in b"]}") for token in tokens), default=0)
