"""Who may call what: every route of the published document, as every kind of caller.

The table below is written by hand on purpose, apart from the program's own: a route that is new,
or that changes hands, fails here until somebody says who may call it.
"""

import pytest

ROLES = ("viewer", "analyst", "admin")
SCOPES = (
    "alerts:read",
    "alerts:write",
    "incidents:read",
    "incidents:write",
    "sensors:read",
    "users:read",
    "users:write",
    "keys:read",
    "keys:write",
    "search:write",
    "ingest",
)
EVERYBODY = ("nobody", *ROLES, *SCOPES)
READERS, WRITERS, ADMIN = "viewer analyst admin", "analyst admin", "admin"

RULES = {
    "POST /api/auth/token": EVERYBODY,
    "POST /api/auth/refresh": EVERYBODY,
    "POST /api/auth/register": EVERYBODY,
    "POST /api/auth/logout": READERS.split(),
    "POST /api/auth/password": READERS.split(),
    "GET /api/auth/me": READERS.split(),
    "GET /api/users/": [*WRITERS.split(), "users:read"],
    "POST /api/users/": [ADMIN, "users:write"],
    "GET /api/users/{user_id}": [*WRITERS.split(), "users:read"],
    "PATCH /api/users/{user_id}": [ADMIN, "users:write"],
    "GET /api/keys/": [ADMIN, "keys:read"],
    "POST /api/keys/": [ADMIN, "keys:write"],
    "DELETE /api/keys/{key_id}": [ADMIN, "keys:write"],
    "GET /api/alerts/": [*READERS.split(), "alerts:read"],
    "POST /api/alerts/": [*WRITERS.split(), "alerts:write"],
    "GET /api/alerts/{id}": [*READERS.split(), "alerts:read"],
    "PATCH /api/alerts/{id}": [*WRITERS.split(), "alerts:write"],
    "GET /api/incidents/": [*READERS.split(), "incidents:read"],
    "POST /api/incidents/": [*WRITERS.split(), "incidents:write"],
    "GET /api/incidents/{id}": [*READERS.split(), "incidents:read"],
    "PATCH /api/incidents/{id}": [*WRITERS.split(), "incidents:write"],
    "POST /api/incidents/{id}/comments": [*WRITERS.split(), "incidents:write"],
    "POST /api/ingest": ["ingest"],
    "GET /api/search/": [*READERS.split(), "alerts:read"],
    "GET /api/search/incidents": [*READERS.split(), "incidents:read"],
    "GET /api/search/status": [*READERS.split(), "sensors:read"],
    "POST /api/search/rebuild": [ADMIN, "search:write"],
    "GET /api/sensors/": [*READERS.split(), "sensors:read"],
    "GET /api/stats/": [*READERS.split(), "sensors:read"],
    "GET /api/openapi.json": EVERYBODY,
    "GET /api/ws": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /healthz": EVERYBODY,
    "GET /readyz": EVERYBODY,
}


def operations(collector):
    """("GET /api/alerts/", operation) of the published document."""
    paths = collector.call("GET", "/api/openapi.json", token="").json["paths"]
    return {
        f"{method.upper()} {path}": operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


class Callers:
    """How to be each kind of caller."""

    def __init__(self, collector):
        self.collector = collector
        self.keys = {}
        for role in ROLES[:2]:
            body = {"username": role, "password": f"{role}-pass-word", "role": role}
            assert collector.call("POST", "/api/users/", body).status == 201
        for scope in SCOPES:
            made = collector.call("POST", "/api/keys/", {"name": scope, "scopes": [scope]})
            self.keys[scope] = made.json["key"]
        self.tokens = {role: self.log_in(role) for role in ROLES}

    def log_in(self, role):
        password = self.collector.password if role == "admin" else f"{role}-pass-word"
        form = {"grant_type": "password", "username": role, "password": password}
        answer = self.collector.call("POST", "/api/auth/token", form=form, token="")
        assert answer.status == 200, answer.text
        return answer.json["access_token"]

    def call(self, who, rule):
        method, path = rule.split()
        headers = {"X-API-Key": self.keys[who]} if who in self.keys else {}
        token = self.tokens.get(who, "")
        if path == "/api/auth/logout" and token:
            token = self.log_in(who)  # this one ends
        for name in ("user_id", "key_id", "id"):
            path = path.replace(f"{{{name}}}", "999999")
        body = None if method in ("GET", "DELETE") else {}
        return self.collector.call(method, path, body, token=token, headers=headers)


@pytest.fixture(scope="module")
def callers(shared):
    return Callers(shared)


def test_every_route_has_a_rule_and_every_rule_a_route(shared):
    assert sorted(operations(shared)) == sorted(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_who_may_call(callers, rule):
    named = operations(callers.collector)[rule].get("x-permission")
    for who in EVERYBODY:
        answer = callers.call(who, rule)
        if who in RULES[rule]:
            # what follows from an empty body or an id that is none, but never a refusal
            assert answer.status not in (401, 403), f"{who}: {answer.text}"
            assert answer.status < 500, f"{who}: {answer.text}"
        elif who == "nobody":
            assert (answer.status, answer.json["code"]) == (401, "token_missing"), answer.text
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        else:
            assert (answer.status, answer.json["code"]) == (403, "permission_missing"), who
            assert f"'{named}'" in answer.json["detail"]


@pytest.mark.parametrize("rule", [r for r, who in RULES.items() if "nobody" not in who])
def test_a_bad_token_is_nobodys(callers, rule):
    method, path = rule.split()
    for name in ("user_id", "key_id", "id"):
        path = path.replace(f"{{{name}}}", "1")
    answer = callers.collector.call(method, path, token="not-a-token")
    assert (answer.status, answer.json["code"]) == (401, "credentials_invalid")


def test_the_document_says_who(shared):
    for rule, operation in operations(shared).items():
        schemes = {name for one in operation["security"] for name in one}
        allowed = RULES[rule]
        if allowed is EVERYBODY:
            assert schemes == set(), rule
        else:
            assert ("key" in schemes) == any(scope in allowed for scope in SCOPES), rule
            assert ("bearer" in schemes) == any(role in allowed for role in ROLES), rule


def test_a_role_that_is_taken_away_counts_at_once(callers):
    collector = callers.collector
    body = {"username": "temp", "password": "temp-pass-word", "role": "admin"}
    user = collector.call("POST", "/api/users/", body).json
    form = {"grant_type": "password", "username": "temp", "password": "temp-pass-word"}
    token = collector.call("POST", "/api/auth/token", form=form, token="").json["access_token"]
    wanted = {"name": "made-by-temp", "scopes": ["users:read", "alerts:read", "ingest"]}
    key = collector.call("POST", "/api/keys/", wanted, token=token).json["key"]
    headers = {"X-API-Key": key}
    assert collector.call("GET", "/api/users/", token="", headers=headers).status == 200

    path = f"/api/users/{user['id']}"
    assert collector.call("PATCH", path, {"role": "viewer"}).status == 200
    again = collector.call("GET", "/api/users/", token=token)
    assert (again.status, again.json["code"]) == (401, "token_revoked")
    # the key may still what its maker may, and post as a sensor
    assert collector.call("GET", "/api/users/", token="", headers=headers).status == 403
    assert collector.call("GET", "/api/alerts/", token="", headers=headers).status == 200
    batch = {"sensor": "s", "alerts": []}
    assert collector.call("POST", "/api/ingest", batch, token="", headers=headers).status == 200

    assert collector.call("PATCH", path, {"is_active": False}).status == 200
    dead = collector.call("GET", "/api/alerts/", token="", headers=headers)
    assert (dead.status, dead.json["code"]) == (401, "token_revoked")


def test_a_key_gives_no_more_than_it_has(callers):
    headers = {"X-API-Key": callers.keys["keys:write"]}
    for scopes, status in ([["keys:write"], 201], [["users:write"], 403], [["ingest"], 403]):
        body = {"name": "child", "scopes": scopes}
        made = callers.collector.call("POST", "/api/keys/", body, token="", headers=headers)
        assert made.status == status, made.text


def test_somebody_stays_admin(callers):
    for change in ({"role": "viewer"}, {"is_active": False}):
        answer = callers.collector.call("PATCH", "/api/users/1", change)
        assert (answer.status, answer.json["code"]) == (409, "last_admin")
