"""An export goes to a Hub over the wire, by the client that users have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autopeft.api.result import SearchResult
from tests.hub_server import TOKEN, HubServer, hub_server


def export_to(
    server: HubServer, study: SearchResult, to: Path, repository: str, token: str = TOKEN
) -> subprocess.CompletedProcess[str]:
    """Export the best trial and send it, in a process that knows no other Hub."""
    hub = {"HF_ENDPOINT": server.uri, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    command = [sys.executable, "-m", "autopeft", "export", study.folder.path, "--to", to]
    command += ["--format", "peft,script", "--push-to-hub", repository, "--private"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, **hub}
    )


@pytest.mark.slow
def test_what_is_exported_is_what_lies_on_the_hub(tiny_study: SearchResult, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with hub_server() as server:
        done = export_to(server, tiny_study, folder, "me/mine")
        assert done.returncode == 0, done.stderr
        assert f"{server.uri}/me/mine" in done.stdout
        kept = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        at_home = {name for name in kept if name.startswith("data/")}
        assert at_home, "rows are what must not go"
        assert {path for _, path in server.files} == kept - at_home
        for (_, path), content in server.files.items():
            assert content == (folder / path).read_bytes()
        assert server.large, "weights go beside the commit"
        assert server.repositories["me/mine"]["visibility"] == "private"

        again = export_to(server, tiny_study, tmp_path / "again", "me/mine")
        assert again.returncode == 0, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repository", "token", "reason"),
    [("you/yours", TOKEN, "403"), ("me/mine", "hf_of_another", "401")],
)
def test_a_refusal_is_one_sentence_and_the_folder_stays(
    repository: str, token: str, reason: str, tiny_study: SearchResult, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    with hub_server() as server:
        done = export_to(server, tiny_study, folder, repository, token)
    assert done.returncode == 2
    assert "is written, but the Hugging Face Hub did not take it" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "README.md").is_file()
    assert not server.files
