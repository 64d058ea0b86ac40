from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, RepoUrl, constants

from autopeft.errors import RequestError
from autopeft.export import hub
from autopeft.export.hub import check_hub, push


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is asked of the Hub, which is not asked."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(_: HfApi, repository: str, **settings: Any) -> RepoUrl:
        calls.append(("create", {"repository": repository, **settings}))
        return RepoUrl(f"https://huggingface.co/{repository}")

    def upload_folder(_: HfApi, **settings: Any) -> None:
        calls.append(("upload", settings))

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    return calls


def test_an_export_goes_to_the_hub_and_the_rows_stay(
    sent: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    assert push(tmp_path, "me/mine", private=True) == "https://huggingface.co/me/mine"
    (_, made), (_, uploaded) = sent
    assert made == {"repository": "me/mine", "private": True, "exist_ok": True}
    assert (uploaded["repo_id"], uploaded["folder_path"]) == ("me/mine", tmp_path)
    assert uploaded["ignore_patterns"] == ["data/*", "llama_factory_data/*"]


def test_a_hub_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("403: not yours\nmore")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(RequestError, match=r"is written, but the .* Hub did not take it: 403"):
        push(tmp_path, "me/mine")


def test_what_is_missing_is_said_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RequestError, match="cannot be reached from here"):
        check_hub("me/mine")
    with pytest.raises(RequestError, match="no name of a repository"):
        check_hub("me/mine/too")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "get_token", lambda: None)
    with pytest.raises(RequestError, match=r"no token .* `hf auth login`, or set HF_TOKEN"):
        check_hub("me/mine")
    monkeypatch.setattr(hub, "get_token", lambda: "hf_something")
    check_hub("me/mine")
