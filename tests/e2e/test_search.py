"""One grammar, several indexes: SQLite's FTS5, PostgreSQL's tsvector, Elasticsearch, OpenSearch.

The same questions over the same alerts are put to each.
"""

import urllib.parse

import pytest
import services
import support
from searching import (
    ALERTS,
    ORDERS,
    QUESTIONS,
    TRIAGE,
    N,
    alert,
    ask,
    is_settled,
    number,
    post,
    right,
    status,
)
from test_api_ingest import Sensor


def settings_of(name, servers):
    if name == "sqlite":
        return {}
    if name == "postgres":
        return {"db__url": servers.get(services.Postgres, "postgres").database()}
    server = servers.get(services.Search, name)
    server.clear()
    return {"search__url": server.url, "search__gzip": "yes" if name == "opensearch" else "no"}


INDEXES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.services),
    pytest.param("elasticsearch", marks=pytest.mark.services),
    pytest.param("opensearch", marks=pytest.mark.services),
]


@pytest.fixture(scope="module", params=INDEXES)
def filled(request, servers, tmp_path_factory):
    """A collector with all alerts, some of them triaged."""
    made = support.Collector(
        tmp_path_factory.mktemp(request.param),
        api__rate="0",
        correlate__alerts="50",
        **settings_of(request.param, servers),
    ).start()
    post(Sensor(made), ALERTS.values())
    ids = {number(row["uid"]): row["id"] for row in made.all("alerts")}
    assert len(ids) == N
    support.until("the index is warm", lambda: is_settled(made))
    for n, change in TRIAGE.items():
        assert made.call("PATCH", f"/api/alerts/{ids[n]}", change).status == 200
    yield made
    assert made.stop() == 0, made.process.log


def test_the_questions_tell_apart():
    """An index that finds all or nothing answers few of them."""
    counts = [len(right(q)) for q in QUESTIONS]
    assert len(counts) >= 40
    assert sum(0 < n < N for n in counts) >= len(counts) - 6
    assert len(set(map(tuple, map(right, QUESTIONS)))) >= len(counts) - 15


@pytest.mark.parametrize("q", QUESTIONS)
def test_every_index_answers_the_same(filled, q):
    assert ask(filled, q) == right(q)


@pytest.mark.parametrize("sort", ORDERS)
def test_pages_follow_each_other_in_every_order(filled, sort):
    wanted = sorted(
        right("evil-c2.example.com"),
        key=lambda n: ORDERS[sort](n, ALERTS[list(ALERTS)[n - 1]]),
    )
    assert ask(filled, "evil-c2.example.com", sort, limit=7) == wanted


def test_lists_ask_the_index_for_words_and_the_database_for_the_rest(filled):
    for q in ("evil-c2 severity:high", "severity:>=high port:53"):
        wanted = ask(filled, q)
        assert wanted and ask(filled, q, path="/api/alerts/") == wanted


def test_a_change_is_found_at_once(filled):
    ids = {number(row["uid"]): row["id"] for row in filled.all("alerts", "id:<=400")}
    for n in (300, 301):
        before = ask(filled, "tag:moved")
        path = f"/api/alerts/{ids[n]}"
        assert filled.call("PATCH", path, {"tags": ["moved"]}).status == 200
        assert ask(filled, "tag:moved") == [*before, n]
    grown = alert(302)
    grown["wind"]["rev"] = 2
    grown["alert"]["signature"] = "a quite different sentence"
    assert Sensor(filled).post(grown).json["updated"] == 1
    assert ask(filled, '"quite different"') == [302]
    assert 302 not in ask(filled, "example tunnel evil calls www302")


def test_incidents_are_found_too(filled):
    rows = filled.all("incidents")
    title = next(row for row in rows if row["alert_count"] > 1)
    first = title["related_entities"][0]["value"]
    for path in ("/api/search/incidents", "/api/incidents/"):
        query = urllib.parse.urlencode({"q": f'"{first}" alerts:>1', "limit": 200})
        answer = filled.call("GET", f"{path}?{query}")
        assert answer.status == 200, answer.text
        assert title["id"] in [row["id"] for row in answer.json["data"]]
    query = urllib.parse.urlencode({"q": "severity:>=low status:open", "limit": 200})
    answer = filled.call("GET", f"/api/search/incidents?{query}")
    assert len(answer.json["data"]) == min(200, len(rows))


def test_a_rebuild_finds_everything_again(filled):
    taken = status(filled)["taken"]
    assert filled.call("POST", "/api/search/rebuild").status == 202
    support.until("the index is filled anew", lambda: is_settled(filled))
    assert status(filled)["taken"] >= taken + N
    assert ask(filled, "evil-c2.example.com") == right("evil-c2.example.com")
    metrics = filled.call("GET", "/metrics").text
    assert "\nwind_search_behind 0\n" in metrics and "\nwind_search_refused_total 0\n" in metrics
