"""Whether the Hugging Face Hub can be reached at all."""

import os
import socket
from urllib.parse import urlsplit

_DEFAULT = "https://huggingface.co"


def hub_is_unknown() -> bool:
    """Tell whether the Hub's name does not resolve, which no retry will change.

    Behind a proxy names need not resolve here, so then this says nothing.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return False
    host = urlsplit(os.environ.get("HF_ENDPOINT", _DEFAULT)).hostname or ""
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return True
    return False


def go_offline_without_hub() -> None:
    """Spare the user half a minute of retries: without the Hub, only local files are used.

    The libraries read the setting when they are imported, so this comes before them.
    """
    if "HF_HUB_OFFLINE" not in os.environ and hub_is_unknown():
        os.environ["HF_HUB_OFFLINE"] = "1"
