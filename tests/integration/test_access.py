"""Access over HTTP: who is let in, what a role sees of which site, and every way to ask for another site's rows."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import time

import duckdb
import pytest
from flask.testing import FlaskClient

from dashboards.pages import PAGES
from dashboards.providers.scoped import FLEET, OPEN, SCHEMAS
from dashboards.providers.snapshot import Snapshots
from dashboards.security import session as sessions
from dashboards.security.scope import Scope
from tests.conftest import cellfleet
from tests.integration.readers import (
    PASSWORD,
    ROW_ROLES,
    SITES,
    batches,
    client_of,
    home_with_accounts,
    shown,
    sign_in,
    token,
)
from warehouse.access import ROLES, TRIES_OF_A_NAME, Access


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, published_home: Path) -> Path:
    return home_with_accounts(tmp_path_factory.mktemp("access") / "home", published_home)


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    return client_of(home, monkeypatch)


@pytest.fixture(scope="module")
def con(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The whole snapshot, from a copy: one process cannot open one file in two ways."""
    copy = tmp_path_factory.mktemp("whole") / "fleet.duckdb"
    shutil.copyfile((home / "published" / "fleet.duckdb").resolve(), copy)
    with duckdb.connect(str(copy), read_only=True) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/comparability", "/_dash-layout", "/_dash-dependencies", "/snapshot",
                                  "/csv/fleet/needs.csv", "/nothing-here", "/sign-out"])  # fmt: skip
def test_nobody_gets_nothing(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (303, 401)
    if answer.status_code == 303:
        assert answer.headers["Location"].startswith("/sign-in?next=")
    assert client.post("/_dash-update-component", json={}).status_code == 401


def test_a_wrong_password_and_an_unknown_name_say_the_same(client: FlaskClient) -> None:
    answers = [sign_in(client, name, "not the password") for name in ("qa_rhein", "nobody")]
    assert {a.status_code for a in answers} == {401}
    said = {re.search(r'role="alert"[^>]*>([^<]*)<', a.text)[1] for a in answers}  # type: ignore[index]
    assert said == {"Name or password is wrong."}


def test_after_too_many_failures_even_the_right_password_waits(client: FlaskClient, home: Path) -> None:
    Access(home / "access").grant("tried", "qa", ["rhein"], PASSWORD, by="test")
    for _ in range(TRIES_OF_A_NAME):
        sign_in(client, "tried", "not the password")
    assert sign_in(client, "tried").status_code == 429
    assert client.get("/snapshot").status_code == 401


def test_signing_in_needs_the_form(client: FlaskClient) -> None:
    client.get("/sign-in")
    for forged in ("", "x" * 32):
        answer = client.post("/sign-in", data={"token": forged, "name": "everywhere", "password": PASSWORD})
        assert answer.status_code == 403
    assert client.get("/snapshot").status_code == 401


def test_a_planted_session_is_not_the_one_that_signs_in(client: FlaskClient) -> None:
    client.get("/sign-in")
    before = client.get_cookie("cellfleet")
    sign_in(client, "everywhere")
    after = client.get_cookie("cellfleet")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    client.set_cookie("cellfleet", before.value)
    assert client.get("/snapshot").status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example",
                                    "javascript:alert(1)", "/%0d%0aX: y\r\nX: y", " //evil.example", ""])  # fmt: skip
def test_signing_in_never_leads_elsewhere(client: FlaskClient, target: str) -> None:
    answer = sign_in(client, "everywhere", target=target)
    assert answer.status_code == 303
    assert answer.headers["Location"] in ("/", "/%0d%0aX: y")


def test_signing_in_leads_back(client: FlaskClient) -> None:
    assert (
        sign_in(client, "everywhere", target="/comparability?attr=vcn").headers["Location"]
        == "/comparability?attr=vcn"
    )


def test_changing_requests_need_the_session_s_token(client: FlaskClient) -> None:
    sign_in(client, "everywhere")
    client.get("/")
    assert shown(client, "/").status_code == 200
    for header in ("", "0" * 64):
        assert shown(client, "/", **{sessions.TOKEN_HEADER: header or "-"}).status_code == 403
    assert (
        shown(
            client, "/", **{sessions.TOKEN_HEADER: token(client), "Sec-Fetch-Site": "cross-site"}
        ).status_code
        == 403
    )
    assert client.post("/sign-out").status_code == 403


def test_a_session_ends_by_signing_out_even_for_who_kept_its_cookie(client: FlaskClient) -> None:
    sign_in(client, "everywhere")
    client.get("/")
    kept = client.get_cookie("cellfleet")
    assert kept is not None
    assert client.post("/sign-out", data={"token": token(client)}).status_code == 303
    client.set_cookie("cellfleet", kept.value)
    assert client.get("/snapshot").status_code == 401


def test_a_changed_or_revoked_account_is_out_at_once(client: FlaskClient, home: Path) -> None:
    access = Access(home / "access")
    access.grant("leaver", "qa", ["*"], PASSWORD, by="test")
    sign_in(client, "leaver")
    assert client.get("/snapshot").status_code == 200
    access.grant("leaver", "qa", ["rhein"], None, by="test")
    assert client.get("/snapshot").status_code == 401
    sign_in(client, "leaver")
    access.revoke("leaver", by="test")
    assert client.get("/snapshot").status_code == 401
    assert sign_in(client, "leaver").status_code == 401


@pytest.mark.parametrize(("key", "ago"), [("seen", sessions.IDLE_S), ("began", sessions.LONGEST_S)])
def test_a_session_ends_by_itself_and_polling_does_not_keep_it(
    client: FlaskClient, key: str, ago: int
) -> None:
    sign_in(client, "everywhere")
    with client.session_transaction() as held:
        held[key] = int(time()) - ago + 120
    assert client.get("/snapshot").status_code == 200
    with client.session_transaction() as held:
        assert held["seen"] == int(time()) - ago + 120 or key == "began"
        held[key] = int(time()) - ago - 1
    assert client.get("/snapshot").status_code == 401


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example"])
def test_a_foreign_name_is_not_answered(client: FlaskClient, name: str) -> None:
    assert client.get("/sign-in", headers={"Host": name}).status_code == 403


def test_cookies_are_kept_from_scripts_and_other_pages(client: FlaskClient) -> None:
    answer = sign_in(client, "everywhere")
    held = next(c for c in answer.headers.getlist("Set-Cookie") if c.startswith("cellfleet="))
    assert "HttpOnly" in held
    assert "SameSite=Lax" in held
    assert client.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("site", SITES)
def test_no_page_or_table_shows_rows_of_another_site(
    client: FlaskClient, con: duckdb.DuckDBPyConnection, role: str, site: str
) -> None:
    """Every page and every CSV of every role at every site, asked for all sites and for another one by force."""
    sign_in(client, f"{role}_{site}")
    client.get("/")
    others = [s for s in SITES if s != site]
    hidden = {b for s in others for b in batches(con, s)} - set(batches(con, site))
    if not ROLES[role].rows:
        hidden |= set(batches(con, site))
    one = {s: batches(con, s)[0] for s in SITES}
    lots = con.execute("SELECT site_id, min(lot_id) FROM core.lot_use GROUP BY site_id").fetchall()
    paths = [p.path for p in PAGES if "<" not in p.path] + [f"/batch/{s}/{b}" for s, b in one.items()]
    paths += [f"/lot/{s}/{lot}" for s, lot in lots]
    for search in ("", f"?sites={others[0]}"):
        answers = [shown(client, path, search) for path in paths]
        answers += [
            client.get(
                f"/csv/{page.name}/{table}.csv{search}&site={others[0]}&id={one[others[0]]}".replace(
                    "csv&", "csv?"
                )
            )
            for page in PAGES
            for table in page.tables
        ]
        for answer in answers:
            assert answer.status_code in (200, 404), answer.text
            assert "This could not be shown" not in answer.text
            seen = {b for b in hidden if re.search(rf"\b{re.escape(b)}\b", answer.text)}
            assert not seen, f"{role} of {site} saw {sorted(seen)[:3]}"


@pytest.mark.parametrize("role", ROW_ROLES)
def test_one_s_own_rows_are_there_and_another_site_s_source_is_as_if_it_were_not(
    client: FlaskClient, con: duckdb.DuckDBPyConnection, role: str
) -> None:
    sign_in(client, f"{role}_rhein")
    client.get("/")
    records = dict(con.execute("SELECT site_id, min(record_id) FROM core.batch GROUP BY site_id").fetchall())
    assert "Row " in shown(client, f"/source/{records['rhein']}").text
    missing = shown(client, "/source/no-such-record").text.replace("no-such-record", "")
    there = shown(client, f"/source/{records['prairie']}").text.replace(records["prairie"], "")
    assert there == missing


def test_the_scope_s_database_holds_no_other_row_whatever_is_asked(home: Path) -> None:
    """A query that forgets to ask for the sites; each table of the snapshot is shown, open or hidden by a rule."""
    snapshot = Snapshots(home / "published").current()
    scope = Scope(("rhein",), compared=SITES)
    everything = Scope(SITES, compared=SITES)
    tables = snapshot.rows(
        "SELECT schema_name || '.' || view_name AS name FROM duckdb_views() "
        "WHERE list_contains($schemas, schema_name) AND len($sites) > 0 AND NOT internal",
        everything, schemas=list(SCHEMAS),
    )  # fmt: skip
    assert len(tables) > 30
    for name in (t["name"] for t in tables):
        described = {
            r["column_name"]
            for r in snapshot.rows(
                f"SELECT column_name FROM (DESCRIBE {name}), (SELECT len($sites))", everything
            )
        }
        column = next((c for c in ("site_id", "site") if c in described), None)
        assert column or name in OPEN + FLEET
        if column and name not in ("mart.comparability", "mart.change"):
            found = snapshot.rows(f"SELECT DISTINCT {column} AS s FROM {name}, (SELECT len($sites))", scope)
            assert {r["s"] for r in found} <= {"rhein"}, name


def test_figures_over_all_sites_are_for_those_who_may_see_every_site_s(home: Path) -> None:
    snapshot = Snapshots(home / "published").current()
    asked = "SELECT measure FROM mart.vein_contrast WHERE len($sites) > 0"
    assert snapshot.rows(asked, Scope(SITES, compared=SITES))
    assert snapshot.rows(asked, Scope(("rhein",), compared=SITES))
    assert snapshot.rows(asked, Scope(("rhein",), compared=("rhein", "meridian"))) == []
    assert snapshot.rows(asked, Scope(("rhein",))) == []


def test_figures_of_few_batches_are_not_told_of_others(home: Path, tmp_path: Path) -> None:
    """At the fleet's own limit, and at one that some comparisons of the small fleet do not reach."""
    real = (home / "published" / "fleet.duckdb").resolve()
    shutil.copyfile(real, tmp_path / real.name)
    (tmp_path / "fleet.duckdb").symlink_to(real.name)
    with duckdb.connect(str(tmp_path / real.name)) as changed:
        changed.execute("UPDATE meta.snapshot SET value = '12' WHERE fact = 'small_cell_limit'")
    asked = "SELECT site, n_site, n_reference FROM mart.comparability WHERE site = ANY($sites)"
    for folder, few in ((home / "published", 5), (tmp_path, 12)):
        snapshot = Snapshots(folder).current()
        assert snapshot.few == few
        every = snapshot.figures(asked, Scope(SITES, compared=SITES))
        mine = snapshot.figures(asked, Scope(("rhein",), compared=SITES))
        want = [r for r in every if r["site"] == "rhein" or min(r["n_site"], r["n_reference"]) >= few]
        assert sorted(map(str, mine)) == sorted(map(str, want))
        assert snapshot.figures(asked, Scope(())) == []
    assert len(mine) < len(every)


def test_everything_looked_at_is_on_record_and_the_record_cannot_be_changed(
    client: FlaskClient, home: Path
) -> None:
    access = Access(home / "access")
    sign_in(client, "qa_rhein")
    client.get("/")
    last = access.views(limit=1)
    number = last[0].number if last else 0
    shown(client, "/comparability", "?attr=vcn")
    client.get("/csv/fleet/needs.csv")
    client.get("/snapshot")
    new = [v for v in reversed(access.views(limit=10)) if v.number > number]
    assert [(v.name, v.role, v.sites, v.what) for v in new] == [
        ("qa_rhein", "qa", ("rhein",), "/comparability?attr=vcn"),
        ("qa_rhein", "qa", ("rhein",), "/csv/fleet/needs.csv"),
    ]
    assert access.first_broken() is None
    with sqlite3.connect(access.path) as con:
        for change in (
            "UPDATE seen SET name = 'x'",
            "DELETE FROM seen",
            "DELETE FROM account",
            "UPDATE attempt SET name = ''",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                con.execute(change)
        con.execute("DROP TRIGGER no_update_of_seen")
        con.execute("UPDATE seen SET what = '/' WHERE number = ?", (number + 1,))
    assert access.first_broken() == number + 1
    assert cellfleet(home, "access", "log", "--verify", check=False).returncode == 1
    with sqlite3.connect(access.path) as con:
        con.execute("DROP TRIGGER no_update_of_seen")
        con.execute("UPDATE seen SET what = '/comparability?attr=vcn' WHERE number = ?", (number + 1,))


def test_what_cannot_be_recorded_is_not_shown(client: FlaskClient, home: Path) -> None:
    sign_in(client, "everywhere")
    client.get("/")
    with sqlite3.connect(home / "access" / "access.sqlite") as con:
        con.execute(
            "CREATE TRIGGER full BEFORE INSERT ON seen BEGIN SELECT raise(ABORT, 'disk is full'); END"
        )
    try:
        answer = client.get("/csv/fleet/needs.csv")
        assert answer.status_code == 503
        assert "could not be recorded" in answer.text
    finally:
        with sqlite3.connect(home / "access" / "access.sqlite") as con:
            con.execute("DROP TRIGGER full")


def test_accounts_on_the_command_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = cellfleet(
        home, "access", "grant", "a.b", "--role", "site_manager", "--site", "nowhere", check=False
    )
    assert done.returncode == 2
    assert "no site nowhere" in done.stderr
    for words, told in (
        (("a.b", "--role", "king", "--no-password"), "no role"),
        (("a.b", "--role", "qa", "--no-password"), "name them with --site"),
        (("a b", "--role", "sponsor", "--no-password"), "no account name"),
    ):
        refused = cellfleet(home, "access", "grant", *words, check=False)
        assert refused.returncode == 2
        assert told in " ".join(refused.stderr.split())
    Access(home / "access").grant("a.b", "site_manager", ["rhein"], PASSWORD, by="test")
    listed = json.loads(cellfleet(home, "access", "list", "--json").stdout)
    assert [(a["name"], a["role"], a["sites"], a["password"]) for a in listed] == [
        ("a.b", "site_manager", ["rhein"], True)
    ]
    assert PASSWORD.encode() not in (home / "access" / "access.sqlite").read_bytes()
    cellfleet(home, "access", "revoke", "a.b")
    assert json.loads(cellfleet(home, "access", "list", "--json").stdout) == []


@pytest.mark.parametrize(("environment", "told"), [
    ({"CELLFLEET_ACCESS": "accounts"}, "nobody could sign in"),
    ({"CELLFLEET_ACCESS": "none"}, "`open` or `accounts`"),
])  # fmt: skip
def test_serve_refuses_what_nobody_could_use_or_everybody_could(
    tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    done = cellfleet(tmp_path / "home", "serve", check=False, **environment)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_other_machines_need_accounts_and_tls(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Access(home / "access").grant("a", "qa", ["*"], PASSWORD, by="test")
    done = cellfleet(
        home, "serve", check=False, CELLFLEET_ACCESS="accounts", CELLFLEET_DASHBOARDS_HOST="0.0.0.0"
    )
    assert done.returncode == 2
    assert "plain text" in " ".join(done.stderr.split())
