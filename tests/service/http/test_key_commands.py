"""Tests of `chiron keys`: a key is printed once, listed by name, and revoked."""

from typer.testing import CliRunner

from service.cli import app
from service.http.keys import KeyRing


def chiron(tmp_path, *arguments: str):
    return CliRunner().invoke(
        app, ["keys", *arguments], env={"CHIRON_KEYS_FILE": str(tmp_path / "keys.json"), "COLUMNS": "200"}
    )


def test_a_key_is_added_listed_and_revoked(tmp_path):
    added = chiron(
        tmp_path,
        "add",
        "tracker-lab",
        "--scopes",
        "models,infer",
        "--expires",
        "90d",
        "--per-minute",
        "600",
        "--in-flight",
        "8",
    )
    assert added.exit_code == 0
    secret = added.stdout.strip()
    assert KeyRing(tmp_path / "keys.json").find(secret) is not None
    listing = chiron(tmp_path, "list").stdout
    assert "tracker-lab" in listing
    assert "valid" in listing
    assert "infer,models, until" in listing
    assert "600 requests a minute, 8 requests in flight" in listing
    assert secret not in listing
    assert chiron(tmp_path, "revoke", "tracker-lab").exit_code == 0
    assert "revoked" in chiron(tmp_path, "list").stdout


def test_an_invalid_command_is_explained(tmp_path):
    chiron(tmp_path, "add", "one")
    for arguments, message in (
        (("add", "one"), "revoke it or choose another name"),
        (("add", "Capital"), "expected a name of lower-case letters"),
        (("add", "two", "--scopes", "everything"), "expected scopes among infer, jobs, models, admin"),
        (("add", "two", "--expires", "soon"), "expected a duration such as 90d"),
        (("revoke", "nobody"), "there are one"),
    ):
        answer = chiron(tmp_path, *arguments)
        assert answer.exit_code == 2
        assert message in " ".join(answer.output.replace("│", " ").split())


def test_a_damaged_key_file_is_reported_and_not_changed(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text("{")
    for arguments in (("list",), ("add", "one"), ("revoke", "one")):
        answer = chiron(tmp_path, *arguments)
        assert answer.exit_code == 2
        assert "is not a key file" in " ".join(answer.output.replace("│", " ").split())
    assert path.read_text() == "{"
