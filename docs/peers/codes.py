"""What the final status alone says of an attempt: the reading of a dashboard of response codes."""

from __future__ import annotations

#: Side that a word names: people, technology, or neither.
PEOPLE, TECHNOLOGY, NEITHER = "people", "technology", "neither"

_BY_STATUS = {
    401: "not authorised",
    403: "forbidden",
    404: "not found",
    407: "not authorised",
    408: "timeout",
    410: "not found",
    415: "not acceptable",
    480: "unavailable",
    484: "not found",
    485: "not found",
    486: "busy",
    487: "cancelled",
    488: "not acceptable",
    504: "server timeout",
    600: "busy",
    603: "declined",
    604: "not found",
    606: "not acceptable",
}

#: The side of each word, taken literally.
SIDES = {
    "busy": PEOPLE,
    "declined": PEOPLE,
    "timeout": TECHNOLOGY,
    "unavailable": TECHNOLOGY,
    "server timeout": TECHNOLOGY,
    "server failure": TECHNOLOGY,
    "no final response": TECHNOLOGY,
}


def word_of(status: int | None) -> str:
    """The name that RFC 3261 gives a final status, shortened; None = there was none."""
    if status is None:
        return "no final response"
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status < 400:
        return "answered" if status < 300 else "redirected"
    return "server failure" if 500 <= status < 600 else "other failure"
