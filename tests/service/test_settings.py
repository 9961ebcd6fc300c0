"""Tests of settings: invalid values, and reports of mistyped variables."""

import hashlib

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from service.cli import app
from service.settings import Settings, unknown_variables


@pytest.mark.parametrize("key", ["sha256:", "sha256:abc", "sha256:" + "z" * 64, "sha256:" + "0" * 63])
def test_a_malformed_hash_of_a_key_is_refused(key):
    with pytest.raises(ValidationError, match="key 2 begins with sha256:: expected 64 hexadecimal digits"):
        Settings(api_keys=("plain", key))


def test_the_command_reports_a_malformed_hash_without_the_key(monkeypatch):
    monkeypatch.setenv("CHIRON_API_KEYS", "sha256:swordfish")
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 2
    assert "api_keys" in result.output
    assert "swordfish" not in result.output


def test_a_hash_of_a_key_is_accepted():
    key = "sha256:" + hashlib.sha256(b"key").hexdigest()
    assert Settings(api_keys=(key,)).api_keys == (key,)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("CHIRON_MAXQUEUE", "no setting reads the variable CHIRON_MAXQUEUE; did you mean CHIRON_MAX_QUEUE?"),
        ("chiron_bundels", "no setting reads the variable chiron_bundels; did you mean CHIRON_BUNDLES?"),
        ("CHIRON_API_KEY", "no setting reads the variable CHIRON_API_KEY; did you mean CHIRON_API_KEYS?"),
        ("CHIRON_XQZW_UVJK", "no setting reads the variable CHIRON_XQZW_UVJK"),
    ],
)
def test_a_mistyped_variable_is_reported_with_the_most_similar_setting(variable, message):
    assert unknown_variables([variable]) == [message]


def test_variables_of_settings_tests_and_other_programs_are_not_reported():
    known = ["PATH", "CHIRON_PORT", "chiron_port", "CHIRON_TEST_REGISTRY", "CHIRON_WORKER_NAME"]
    assert unknown_variables(known) == []


def test_a_command_reports_a_mistyped_variable(monkeypatch, bundles):
    monkeypatch.setenv("CHIRON_BUNDELS", str(bundles))
    result = CliRunner().invoke(app, ["models", "--bundles", str(bundles)])
    assert result.exit_code == 0
    assert "did you mean CHIRON_BUNDLES?" in result.output
