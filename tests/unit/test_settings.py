"""Settings: what the environment gives, or every fault in it at once and no secret shown."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from resumer.errors import SettingsError
from resumer.misspelt import misspelt
from resumer.settings import RETRY_DELAYS, Settings
from tests.vectors import PUBLIC_KEY

URL = "postgresql://user:password@db:5432/agents"
ENOUGH = {"RESUMER_DATABASE_URL": URL, "LOOPPAUSE_SIGNING_SECRET": "a-secret"}
HIDDEN = "hunter2"
ROOT = Path(__file__).resolve().parents[2]

NO_DATABASE = (
    "RESUMER_DATABASE_URL is missing: set it to postgresql://user:password@host:5432/database"
)
NO_KEY = "no key to verify proofs with: set LOOPPAUSE_SIGNING_SECRET (HMAC) or LOOPPAUSE_PUBLIC_KEYS (Ed25519, JSON array)"
NO_ARRAY = 'must be a JSON array of strings, e.g. ["first","second"]'
NO_DELAYS = "RESUMER_RETRY_DELAYS: must be a JSON array of seconds, e.g. [1, 5, 30]"


@pytest.mark.parametrize(
    "env, name, value",
    [
        ({}, "database_url", URL),
        ({"RESUMER_DATABASE_URL": "", "DATABASE_URL": URL + "2"}, "database_url", URL + "2"),
        ({"DATABASE_URL": "postgres://other/x"}, "database_url", URL),
        ({"RESUMER_DATABASE_URL": f"  {URL}\n"}, "database_url", URL),
        ({}, "checkpoints_at", URL),
        ({"RESUMER_CHECKPOINT_URL": "postgres://c/x"}, "checkpoints_at", "postgres://c/x"),
        ({}, "signing_secrets", ("a-secret",)),
        ({"LOOPPAUSE_SIGNING_SECRETS": '["b","c"]'}, "signing_secrets", ("a-secret", "b", "c")),
        ({"LOOPPAUSE_SIGNING_SECRETS": '["a-secret"]'}, "signing_secrets", ("a-secret",)),
        (
            {"LOOPPAUSE_SIGNING_SECRET": "", "LOOPPAUSE_SIGNING_SECRETS": '["b, c"]'},
            "signing_secrets",
            ("b, c",),
        ),
        ({"LOOPPAUSE_PUBLIC_KEYS": f'["{PUBLIC_KEY}"]'}, "public_keys", (PUBLIC_KEY,)),
        ({}, "public_keys", ()),
        ({}, "api_key", None),
        ({"LOOPPAUSE_API_KEY": " k "}, "api_key", "k"),
        ({"LOOPPAUSE_API_URL": "http://127.0.0.1:8787"}, "api_url", "http://127.0.0.1:8787"),
        ({}, "graphs", {}),
        ({"RESUMER_GRAPHS": "a=pkg.mod:graph"}, "graphs", {"a": "pkg.mod:graph"}),
        (
            {"RESUMER_GRAPHS": " a = m:g , b=agents/b.py:make.graph,, "},
            "graphs",
            {"a": "m:g", "b": "agents/b.py:make.graph"},
        ),
        ({"RESUMER_GRAPHS": "m:graph"}, "graphs", {"*": "m:graph"}),
        ({"RESUMER_GRAPHS": "*=m:graph,a=m:a"}, "graphs", {"*": "m:graph", "a": "m:a"}),
        ({"RESUMER_GRAPHS": "a=env=dev/b.py:graph"}, "graphs", {"a": "env=dev/b.py:graph"}),
        ({"RESUMER_GRAPHS": r"a=C:\agents\b.py:graph"}, "graphs", {"a": r"C:\agents\b.py:graph"}),
        ({}, "max_body_bytes", 262_144),
        ({"RESUMER_MAX_BODY_BYTES": "1000"}, "max_body_bytes", 1000),
        ({"RESUMER_CONCURRENCY": "32"}, "concurrency", 32),
        ({"RESUMER_SETTLE_SECONDS": "0"}, "settle_seconds", 0.0),
        ({"RESUMER_EARLY_HOURS": "0.5"}, "early_hours", 0.5),
        ({"RESUMER_DRAIN_SECONDS": "7"}, "drain_seconds", 7.0),
        ({"RESUMER_STALL_SECONDS": "9"}, "stall_seconds", 9.0),
        ({"RESUMER_RECONCILE_SECONDS": "0"}, "reconcile_seconds", 0.0),
        ({"RESUMER_RETENTION_DAYS": "0"}, "retention_days", 0.0),
        ({}, "retention_days", 90.0),
        ({"RESUMER_AUDIT_DIR": " /audit "}, "audit_dir", "/audit"),
        ({"RESUMER_RETENTION_WITHOUT_EXPORT": "1"}, "retention_without_export", True),
        ({}, "retry_delays", RETRY_DELAYS),
        ({"RESUMER_RETRY_DELAYS": "[1, 2.5]"}, "retry_delays", (1.0, 2.5)),
        ({"RESUMER_RETRY_DELAYS": "[]"}, "retry_delays", ()),
    ],
)
def test_the_environment_gives_each_setting(env: dict[str, str], name: str, value: Any) -> None:
    """A setting is what its variable says, or its default."""
    assert getattr(Settings.from_env({**ENOUGH, **env}), name) == value


@pytest.mark.parametrize(
    "env, faults",
    [
        ({"RESUMER_DATABASE_URL": ""}, [NO_DATABASE]),
        ({"LOOPPAUSE_SIGNING_SECRET": "  "}, [NO_KEY]),
        ({"RESUMER_DATABASE_URL": "", "LOOPPAUSE_SIGNING_SECRET": ""}, [NO_DATABASE, NO_KEY]),
        (
            {"RESUMER_DATABASE_URL": "mysql://x/y"},
            ["RESUMER_DATABASE_URL must start with postgresql://"],
        ),
        (
            {"RESUMER_CHECKPOINT_URL": "x.db"},
            ["RESUMER_CHECKPOINT_URL must start with postgresql://"],
        ),
        ({"LOOPPAUSE_SIGNING_SECRETS": "plain"}, [f"LOOPPAUSE_SIGNING_SECRETS: {NO_ARRAY}"]),
        ({"LOOPPAUSE_SIGNING_SECRETS": '{"a":1}'}, [f"LOOPPAUSE_SIGNING_SECRETS: {NO_ARRAY}"]),
        ({"LOOPPAUSE_SIGNING_SECRETS": '["a", 5]'}, [f"LOOPPAUSE_SIGNING_SECRETS: {NO_ARRAY}"]),
        ({"LOOPPAUSE_SIGNING_SECRETS": '[""]'}, [f"LOOPPAUSE_SIGNING_SECRETS: {NO_ARRAY}"]),
        (
            {"LOOPPAUSE_SIGNING_SECRETS": '[" "]'},
            ["LOOPPAUSE_SIGNING_SECRETS: a secret is blank, take it out"],
        ),
        ({"LOOPPAUSE_PUBLIC_KEYS": PUBLIC_KEY}, [f"LOOPPAUSE_PUBLIC_KEYS: {NO_ARRAY}"]),
        (
            {"LOOPPAUSE_API_URL": "localhost:8787"},
            ["LOOPPAUSE_API_URL must start with https:// and name a host"],
        ),
        (
            {"LOOPPAUSE_API_URL": "https://["},
            ["LOOPPAUSE_API_URL must start with https:// and name a host"],
        ),
        (
            {"RESUMER_GRAPHS": "a=module"},
            ["RESUMER_GRAPHS: 'a=module' is not name=module:attribute"],
        ),
        ({"RESUMER_GRAPHS": "=m:g"}, ["RESUMER_GRAPHS: '=m:g' is not name=module:attribute"]),
        ({"RESUMER_GRAPHS": "a=m:"}, ["RESUMER_GRAPHS: 'a=m:' is not name=module:attribute"]),
        ({"RESUMER_GRAPHS": "a=:g"}, ["RESUMER_GRAPHS: 'a=:g' is not name=module:attribute"]),
        (
            {"RESUMER_GRAPHS": "a=m:g,a=n:g"},
            ["RESUMER_GRAPHS: 'a' stands twice: one graph for each agent"],
        ),
        (
            {"RESUMER_GRAPHS": "m:g,n:g"},
            ["RESUMER_GRAPHS: '*' stands twice: one graph for each agent"],
        ),
        ({"RESUMER_CONCURRENCY": "many"}, ["RESUMER_CONCURRENCY: must be a whole number, e.g. 10"]),
        ({"RESUMER_CONCURRENCY": "1.5"}, ["RESUMER_CONCURRENCY: must be a whole number, e.g. 10"]),
        ({"RESUMER_CONCURRENCY": "0"}, ["RESUMER_CONCURRENCY must be a number above 0"]),
        ({"RESUMER_MAX_BODY_BYTES": "-1"}, ["RESUMER_MAX_BODY_BYTES must be a number above 0"]),
        ({"RESUMER_DRAIN_SECONDS": "soon"}, ["RESUMER_DRAIN_SECONDS: must be a number, e.g. 30"]),
        ({"RESUMER_DRAIN_SECONDS": "-1"}, ["RESUMER_DRAIN_SECONDS must be a number, 0 or more"]),
        ({"RESUMER_SETTLE_SECONDS": "nan"}, ["RESUMER_SETTLE_SECONDS must be a number, 0 or more"]),
        ({"RESUMER_EARLY_HOURS": "inf"}, ["RESUMER_EARLY_HOURS must be a number above 0"]),
        ({"RESUMER_STALL_SECONDS": "0"}, ["RESUMER_STALL_SECONDS must be a number above 0"]),
        (
            {"RESUMER_RETENTION_DAYS": "nan"},
            ["RESUMER_RETENTION_DAYS: must be a number of days, 0 to 36500"],
        ),
        (
            {"RESUMER_RETENTION_DAYS": "36501"},
            ["RESUMER_RETENTION_DAYS: must be a number of days, 0 to 36500"],
        ),
        ({"RESUMER_RETRY_DELAYS": "5"}, [NO_DELAYS]),
        ({"RESUMER_RETRY_DELAYS": "5,6"}, [NO_DELAYS]),
        ({"RESUMER_RETRY_DELAYS": "[true]"}, [NO_DELAYS]),
        ({"RESUMER_RETRY_DELAYS": "[-1]"}, [NO_DELAYS]),
        ({"RESUMER_RETRY_DELAYS": "[NaN]"}, [NO_DELAYS]),
        (
            {
                "RESUMER_DATABASE_URL": "",
                "RESUMER_GRAPHS": "oops",
                "RESUMER_CONCURRENCY": "x",
                "RESUMER_STALL_SECONDS": "-3",
                "RESUMER_CHECKPOINT_URL": "sqlite://",
            },
            [
                "RESUMER_GRAPHS: 'oops' is not name=module:attribute",
                "RESUMER_CONCURRENCY: must be a whole number, e.g. 10",
                NO_DATABASE,
                "RESUMER_CHECKPOINT_URL must start with postgresql://",
                "RESUMER_STALL_SECONDS must be a number above 0",
            ],
        ),
    ],
)
def test_all_faults_are_reported_together(env: dict[str, str], faults: list[str]) -> None:
    """One error lists every fault, by variable and with what to do."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**ENOUGH, **env})
    assert list(caught.value.faults) == faults
    assert all(f"  - {fault}" in str(caught.value) for fault in faults)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:a@{HIDDEN}@db/x",
        f"postgresql://u:{HIDDEN}/b@db/x",
        f"postgresql://u:{HIDDEN}@[::1/x",
        f"postgresql://u:{HIDDEN}%zz@db/x",
        f"postgresql://u:{HIDDEN}@db:port/x",
    ],
)
@pytest.mark.parametrize("variable", ["RESUMER_DATABASE_URL", "RESUMER_CHECKPOINT_URL"])
def test_a_url_that_libpq_would_misread_is_a_fault(variable: str, url: str) -> None:
    """A password with bare special characters is refused before a driver's error shows it."""
    with pytest.raises(SettingsError, match=f"{variable} cannot be read: .* %40") as caught:
        Settings.from_env({**ENOUGH, variable: url})
    assert HIDDEN not in _all_text(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///x?host=/var/run",
        "postgresql://u:p%40ss@a:1,b:2/x",
        "postgresql://u:p?s#s:@a/x",
        "postgresql://[::1]:5432/x",
        "postgres://u@db/x?sslmode=require",
    ],
)
def test_every_form_of_postgresql_url_is_taken(url: str) -> None:
    """Sockets, several hosts, IPv6 and parameters are no faults."""
    assert Settings.from_env({**ENOUGH, "RESUMER_DATABASE_URL": url}).database_url == url


SECRETIVE = {
    "RESUMER_DATABASE_URL": f"postgresql://u:{HIDDEN}@db/x",
    "RESUMER_CHECKPOINT_URL": f"postgresql://u:{HIDDEN}@other/x",
    "LOOPPAUSE_SIGNING_SECRET": HIDDEN,
    "LOOPPAUSE_SIGNING_SECRETS": f'["{HIDDEN}-old"]',
    "LOOPPAUSE_API_KEY": f"lp_{HIDDEN}",
    "LOOPPAUSE_API_URL": f"https://u:{HIDDEN}@api.example",
}


@pytest.mark.parametrize("render", [repr, str, "{}".format, "{!r}".format])
def test_no_text_of_the_settings_shows_a_secret(render: Any) -> None:
    """Secrets, API keys and passwords inside URLs stay out of every text form."""
    assert HIDDEN not in render(Settings.from_env(SECRETIVE))


@pytest.mark.parametrize("variable", [*SECRETIVE, "LOOPPAUSE_PUBLIC_KEYS"])
def test_no_error_shows_a_secret(variable: str) -> None:
    """Each variable holding a secret where it does not belong is refused without repeating it."""
    env = {**SECRETIVE, "RESUMER_CONCURRENCY": "0", variable: f'["{HIDDEN}"'}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env)
    assert HIDDEN not in _all_text(caught.value)


def _all_text(error: BaseException) -> str:
    """All that a traceback or a log of it may show, its causes and their values included."""
    texts = [*traceback.format_exception(error)]
    current: BaseException | None = error
    while current is not None:
        texts += [repr(current), repr(vars(current))]
        current = current.__cause__
    return "\n".join(texts)


def test_what_is_given_wins_over_the_environment() -> None:
    """Arguments that are not None replace what the environment says."""
    settings = Settings.from_env(
        {**ENOUGH, "RESUMER_GRAPHS": "a=m:g"}, database_url="postgresql://given/x", graphs=None
    )
    assert settings.database_url == "postgresql://given/x"
    assert settings.graphs == {"a": "m:g"}


def test_what_is_given_mends_a_missing_variable() -> None:
    """A setting given as an argument is no longer missing."""
    env = {"LOOPPAUSE_SIGNING_SECRET": "s"}
    assert Settings.from_env(env, database_url=URL).database_url == URL


def test_a_public_key_that_cannot_be_read_names_its_variable() -> None:
    """A broken public key says which variable to mend, and how."""
    with pytest.raises(SettingsError, match="LOOPPAUSE_PUBLIC_KEYS: a public key cannot be read: "):
        Settings.from_env({**ENOUGH, "LOOPPAUSE_PUBLIC_KEYS": '["not a key"]'})


@pytest.mark.parametrize(
    "text, graphs",
    [("a=m:g", {"a": "m:g"}), ("m:g", {"*": "m:g"}), ("a=m:g,b=n:h", {"a": "m:g", "b": "n:h"})],
)
def test_graphs_are_read_from_an_option(text: str, graphs: dict[str, str]) -> None:
    """`--graph` has the same notation as RESUMER_GRAPHS."""
    assert Settings.graphs_from(text) == graphs


def test_a_bad_graph_option_is_named_as_such() -> None:
    """The error names the option, since no variable was wrong."""
    with pytest.raises(SettingsError, match="--graph: 'graph' is not name=module:attribute"):
        Settings.graphs_from("graph")


@pytest.mark.parametrize(
    "given, env, urls",
    [
        ((URL, None), {}, (URL, URL)),
        ((None, None), {"DATABASE_URL": URL}, (URL, URL)),
        (
            (None, None),
            {"DATABASE_URL": URL, "RESUMER_CHECKPOINT_URL": "postgres://c/x"},
            (URL, "postgres://c/x"),
        ),
        (
            (URL, "postgres://c/x"),
            {"RESUMER_CHECKPOINT_URL": "postgres://d/x"},
            (URL, "postgres://c/x"),
        ),
    ],
)
def test_migrating_needs_the_databases_only(
    given: tuple[str | None, str | None], env: dict[str, str], urls: tuple[str, str]
) -> None:
    """No key and no graph is asked for where only tables are made."""
    assert Settings.database_urls(*given, {**env, "RESUMER_GRAPHS": "broken"}) == urls


def test_migrating_reports_both_databases() -> None:
    """Faults of both URLs come together there, too."""
    with pytest.raises(SettingsError) as caught:
        Settings.database_urls(None, "sqlite://", {})
    assert list(caught.value.faults) == [
        NO_DATABASE,
        "RESUMER_CHECKPOINT_URL must start with postgresql://",
    ]


TOKEN = "hunter2-hunter2-hunter2"


def test_read_tokens_are_kept_as_digests_only() -> None:
    """From the environment or given, and again through `replace`: no token is left in memory."""
    from dataclasses import replace

    from resumer.tokens import Token

    read = Settings.from_env({**ENOUGH, "RESUMER_READ_TOKENS": f'["{TOKEN}"]'})
    given = Settings(database_url=URL, signing_secrets=("s",), read_tokens=[TOKEN])
    assert read.read_tokens == given.read_tokens == (Token.of(TOKEN),)
    assert replace(read, concurrency=3).read_tokens == read.read_tokens
    assert HIDDEN not in repr(vars(read)) + repr(read.read_tokens)


@pytest.mark.parametrize(
    "tokens",
    [["short"], [HIDDEN], [""], [TOKEN, "x" * 15], [f"{TOKEN} {TOKEN}"], ["ü" * 20], TOKEN, [17]],
)
def test_a_read_token_that_is_none_is_refused_unseen(tokens: Any) -> None:
    """The fault says how to make one, and repeats nothing."""
    with pytest.raises(SettingsError) as caught:
        Settings(database_url=URL, signing_secrets=("s",), read_tokens=tokens)
    message = str(caught.value)
    assert "RESUMER_READ_TOKENS: each token must be a text of at least 16 characters" in message
    assert 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"' in message
    assert HIDDEN not in message


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer   {TOKEN}", True),
        (f"BEARER {TOKEN} ", True),
        ("Bearer another-token-entirely", False),
        (f"Bearer {TOKEN[:-1]}", False),
        (f"Basic {TOKEN}", False),
        (f"Bearer{TOKEN}", False),
        (TOKEN, False),
        ("Bearer \ud800", False),
        ("Bearer", False),
        ("", False),
        (None, False),
    ],
)
def test_who_bears_a_token(header: str | None, known: bool) -> None:
    """Only one of ours, whole, as a bearer token."""
    from resumer.tokens import Token, identify

    tokens = [Token.of("first-token-of-the-two"), Token.of(TOKEN)]
    assert identify(header, tokens) == (Token.of(TOKEN) if known else None)
    assert identify(header, []) is None


@pytest.mark.parametrize(
    "name, closest",
    [
        ("RESUMER_RECONCILE_SECOND", "RESUMER_RECONCILE_SECONDS"),
        ("RESUMER_GRAPH", "RESUMER_GRAPHS"),
        ("RESUMER_DB_URL", "RESUMER_DATABASE_URL"),
        ("RESUMER_ACT_TOKEN_FILE", "RESUMER_ACT_TOKENS_FILE"),
        ("RESUMER_XYZZY", None),
    ],
)
def test_a_misspelt_variable_is_found_out(name: str, closest: str | None) -> None:
    """With the closest that there is; those that are read, and other programs', are none."""
    env = {**ENOUGH, "RESUMER_HOOK_SECRETS": "x", "RESUMES": "1", name: HIDDEN}
    assert misspelt(env) == {name: closest}


def test_every_variable_in_the_documents_is_read() -> None:
    """Nobody is warned of what a page tells them to set."""
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), ROOT / "README.md"]
    told = {
        name for page in pages for name in re.findall(r"RESUMER_[A-Z_]+[A-Z]", page.read_text())
    }
    assert misspelt(dict.fromkeys(told, "")) == {}
