"""Durations as users write them."""

import re

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?")
#: A number alone is of seconds.
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def seconds(text: str) -> float:
    """Return the seconds of a duration such as `90`, `30m`, `1h30m`.

    Raises:
        ValueError: If the text is no duration above zero.
    """
    told = text.strip()
    match = _TIME.fullmatch(f"{told}s" if _NUMBER.fullmatch(told) else told)
    if match is None or not any(match.groups()):
        raise ValueError(f"cannot read the time '{text}': write 90s, 30m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + rest
    if total <= 0:
        raise ValueError(f"the time '{text}' must be more than zero")
    return total
