"""What a catalog's server that went away leaves in the libraries' words, as they said it in trials of restarts."""

from __future__ import annotations

import pytest

from warehouse.trouble import in_words


@pytest.mark.parametrize(
    "told",
    [
        "Failed to get data file list from DuckLake: Current transaction is aborted (please ROLLBACK)",
        "Invalid Input Error: Attempting to fetch from an unsuccessful query result",
        "IO Error: Failed to query most recent snapshot for DuckLake: Unable to connect to Postgres at "
        '"host=127.0.0.1 port=5432": Connection refused',
        "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
    ],
)
def test_a_server_that_went_away_is_told_as_that(told: str) -> None:
    said = in_words(told)
    assert said is not None
    assert "did not answer" in said


def test_an_error_of_our_own_is_left_as_it_is() -> None:
    # DuckDB says so after any error: what it was is not known from it.
    assert in_words("TransactionContext Error: Current transaction is aborted (please ROLLBACK)") is None
