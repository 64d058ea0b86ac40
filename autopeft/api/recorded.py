"""What a study was asked, read back from its folder."""

from collections.abc import Mapping
from typing import Any

from autopeft.api.request import SearchRequest
from autopeft.errors import RequestError, StudyError


def recorded_request(manifest: Mapping[str, Any]) -> SearchRequest:
    """Return the request of a study.

    Raises:
        StudyError: If it is none: what is wrong then is no option of the user's.
    """
    try:
        return SearchRequest.build(**SearchRequest.described(manifest["request"]))
    except RequestError as error:
        reason = str(error).rstrip(".")
        raise StudyError(
            f"The 'request' in the study's study.json is wrong: {reason}. Bring the file back."
        ) from error
