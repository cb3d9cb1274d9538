from __future__ import annotations

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.foundation.errors import Invalid
from engine.supervisor.secrets import load_recording_key, load_secret_key, load_secrets


def test_secrets_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "home" / "secrets.json"
    made = load_secrets(file)
    assert load_secrets(file) == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert len({made.ari, made.ami, made.gateway}) == 3
    assert [path.name for path in file.parent.iterdir()] == ["secrets.json"]


def test_two_homes_have_different_secrets(tmp_path: Path) -> None:
    assert load_secrets(tmp_path / "one") != load_secrets(tmp_path / "two")


def test_those_who_start_at_once_share_the_same_secrets(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load_secrets, [tmp_path / "secrets.json"] * 8))
    assert all(one == made[0] for one in made)


def test_secrets_never_show_in_a_log_line(tmp_path: Path) -> None:
    made = load_secrets(tmp_path / "secrets.json")
    assert made.ari not in repr(made)
    assert made.ari not in str(made)


def test_a_file_open_to_others_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    load_secrets(file)
    file.chmod(0o644)
    load_secrets(file)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ari": 1}'])
def test_a_damaged_file_is_refused_with_the_mend(tmp_path: Path, content: str) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(content)
    with pytest.raises(Invalid, match=r"secrets\.json is damaged; run `dari down`, delete the file"):
        load_secrets(file)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match=r"is a file; set DARI_HOME to a folder"):
        load_secrets(tmp_path / "file" / "secrets.json")


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    file = tmp_path / "secrets.json"
    load_secrets(file)
    script = (
        "import os, pathlib, sys; from engine.supervisor.secrets import load_secrets; "
        "os.setuid(65534); load_secrets(pathlib.Path(sys.argv[1]))"
    )
    refused = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=False)
    assert "Invalid" in refused.stderr
    assert "run dari as the user who made it" in refused.stderr


def test_the_key_of_recordings_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "home" / "recording.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(load_recording_key, [file] * 8, [tmp_path / "recordings"] * 8))
    assert made == {load_recording_key(file, tmp_path / "recordings")}
    assert len(base64.b64decode(made.pop())) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_recording_key(tmp_path / "another", tmp_path / "recordings") != load_recording_key(
        file, tmp_path / "recordings"
    )


@pytest.mark.parametrize("content", ["", "short", "ü" * 44])
def test_a_damaged_key_of_recordings_is_never_made_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recording.key"
    file.write_text(content)
    with pytest.raises(Invalid, match=r"recording\.key is damaged; put your copy of it back"):
        load_recording_key(file, tmp_path / "recordings")
    assert file.read_text() == content


def test_a_lost_recording_key_is_not_made_anew_beside_recordings_that_only_it_opens(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    (recordings / "2026").mkdir(parents=True)
    (recordings / "2026" / "call.wav.enc").touch()
    with pytest.raises(Invalid, match="put it back"):
        load_recording_key(tmp_path / "recording.key", recordings)
    assert not (tmp_path / "recording.key").exists()


def test_the_key_of_other_secrets_is_made_once_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "home" / "secret.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(load_secret_key, [file] * 8, [tmp_path / "documents"] * 8))
    assert made == {load_secret_key(file, tmp_path / "documents")}
    assert len(base64.b64decode(made.pop())) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("short")
    with pytest.raises(Invalid, match=r"secret\.key is damaged; put your copy of it back"):
        load_secret_key(file, tmp_path / "documents")
    assert file.read_text() == "short"


def test_a_lost_key_of_other_secrets_is_not_made_anew_beside_documents_that_only_it_opens(tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    load_secret_key(tmp_path / "first.key", documents)
    (documents / "kept").touch()
    with pytest.raises(Invalid, match="put your copy of it back"):
        load_secret_key(tmp_path / "secret.key", documents)
    assert not (tmp_path / "secret.key").exists()
