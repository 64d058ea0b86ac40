"""The Hugging Face Hub: whether an export can go there, and the way."""

from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from autopeft.errors import RequestError
from autopeft.export.projects import DATA, LLAMA_FACTORY_DATA

#: What stays at home: the user's rows.
_AT_HOME = [f"{DATA}/*", f"{LLAMA_FACTORY_DATA}/*"]


def check_hub(repository: str) -> None:
    """Check what can be known before anything is written or sent.

    Raises:
        RequestError: If the name cannot be one, or there is no network or token.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise RequestError(
            f"'{repository}' is no name of a repository: write owner/name after --push-to-hub."
        ) from error
    if constants.HF_HUB_OFFLINE:
        raise RequestError(
            "The Hugging Face Hub cannot be reached from here: leave --push-to-hub out, and send "
            "the folder later with `hf upload`."
        )
    if get_token() is None:
        raise RequestError(
            "There is no token for the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN."
        )


def push(folder: Path, repository: str, *, private: bool | None = None) -> str:
    """Send an exported folder to the Hub, without the rows of the study; return its address.

    Args:
        folder: The exported folder.
        repository: `owner/name`; made if it is not there.
        private: Whether a new repository is private; `None` leaves that to the account.

    Raises:
        RequestError: If the Hub refuses it or does not answer; the folder stays.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            ignore_patterns=_AT_HOME,
            commit_message="Add an adapter found by autopeft",
        )
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise RequestError(
            f"The folder '{folder}' is written, but the Hugging Face Hub did not take it: {reason}"
        ) from error
    return str(address)
