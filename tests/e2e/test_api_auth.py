"""Who somebody is: logins, tokens and sessions, and how often one may try."""

import base64
import hmac
import json
import time
import uuid

import support
from apiclient import at_once, b64, log_in, made, me, new_user, refused


def test_a_login_is_what_oauth2_clients_expect(shared):
    answer = log_in(shared)
    tokens = made(answer, 200)
    assert tokens["token_type"] == "bearer" and tokens["expires_in"] == 900
    assert answer.headers["Cache-Control"] == "no-store"
    user = made(me(shared, tokens["access_token"]), 200)
    assert (user["username"], user["role"], user["is_active"]) == ("admin", "admin", True)
    assert "password" not in json.dumps(user)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert made(shared.call("POST", "/api/auth/token", form=form, token=""), 200)["access_token"]


def test_a_wrong_password_and_an_unknown_user_are_told_alike(shared):
    texts = {log_in(shared, name, "not-the-password").text for name in ("admin", "nobody", "!")}
    assert len(texts) == 1
    refused(log_in(shared, "admin", "x"), 401, "credentials_invalid")


def signing_key(collector):
    value = collector.sql("SELECT value FROM secrets WHERE name = 'jwt'")[0][0]
    return bytes.fromhex(value[2:]) if isinstance(value, str) else value


def claims_of(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def sign(claims, key, alg="HS256", digest="sha256"):
    head = b64(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    signed = f"{head}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), digest).digest())}"


def test_forged_tokens(shared):
    token = made(log_in(shared), 200)["access_token"]
    key, claims = signing_key(shared), claims_of(token)
    assert me(shared, sign(claims, key)).status == 200, "the test signs as the server does"
    head, body, mac = token.split(".")
    none = b64(b'{"alg":"none","typ":"JWT"}')
    forged = [
        f"{none}.{body}.",
        f"{none}.{body}.{mac}",
        sign(claims, key, alg="none"),
        sign(claims, key, alg="HS512", digest="sha512"),
        sign(claims, key, alg="RS256"),
        sign(claims, b"\0" * 32),
        sign(claims, b""),
        sign(claims | {"use": "refresh"}, key),
        sign(claims | {"iss": "other"}, key),
        sign(claims | {"sub": "1 OR 1=1"}, key),
        sign(claims | {"exp": "9999999999"}, key),
        f"{head}.{b64(json.dumps(claims | {'sub': '2'}).encode())}.{mac}",
        token[:-1],
        token + "A",
        token + ".",
        f"{token}.{mac}",
        "..",
        "x" * 5000,
    ]
    for bad in forged:
        refused(me(shared, bad), 401, "credentials_invalid")


def test_each_401_has_its_word(shared):
    refused(shared.call("GET", "/api/auth/me", token=""), 401, "token_missing")
    key, tokens = signing_key(shared), made(log_in(shared), 200)
    past = claims_of(tokens["access_token"]) | {"exp": int(time.time()) - 1}
    refused(me(shared, sign(past, key)), 401, "token_expired")
    early = claims_of(tokens["access_token"]) | {"iat": int(time.time()) + 3600}
    refused(me(shared, sign(early, key)), 401, "token_expired")
    gone = claims_of(tokens["access_token"]) | {"sid": str(uuid.uuid4())}
    refused(me(shared, sign(gone, key)), 401, "token_revoked")
    for scheme in ("Basic YTpi", "Bearer", "Bearer  ", "Token x"):
        answer = shared.call("GET", "/api/auth/me", token="", headers={"Authorization": scheme})
        refused(answer, 401, "credentials_invalid")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_of_another_server(shared, collector):
    refused(me(shared, collector.token()), 401, "credentials_invalid")


def refresh(collector, token):
    return collector.call("POST", "/api/auth/refresh", {"refresh_token": token}, token="")


def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_session(shared):
    first = made(log_in(shared), 200)
    second = made(refresh(shared, first["refresh_token"]), 200)
    assert me(shared, second["access_token"]).status == 200
    refused(refresh(shared, first["refresh_token"]), 401, "token_revoked")
    refused(me(shared, second["access_token"]), 401, "token_revoked")
    refused(refresh(shared, second["refresh_token"]), 401, "token_revoked")
    refused(refresh(shared, second["access_token"]), 401, "credentials_invalid")
    refused(refresh(shared, "nonsense"), 401, "credentials_invalid")


def test_of_many_who_refresh_at_once_one_gets_tokens(shared):
    token = made(log_in(shared), 200)["refresh_token"]
    answers = at_once(8, lambda _: refresh(shared, token))
    assert sorted(a.status for a in answers) == [200] + 7 * [401]


def test_logout_ends_the_session_and_no_other(shared):
    mine, other = (made(log_in(shared), 200) for _ in range(2))
    assert shared.call("POST", "/api/auth/logout", token=mine["access_token"]).status == 204
    refused(me(shared, mine["access_token"]), 401, "token_revoked")
    refused(refresh(shared, mine["refresh_token"]), 401, "token_revoked")
    assert me(shared, other["access_token"]).status == 200


def test_a_new_password_ends_all_sessions_but_the_one_it_starts(shared):
    user, tokens = new_user(shared)
    name = user["username"]
    old, token = f"{name}-secret", tokens["access_token"]

    def change(current, new):
        body = {"current_password": current, "new_password": new}
        return shared.call("POST", "/api/auth/password", body, token=token)

    refused(change("wrong", "another-secret"), 401, "credentials_invalid")
    refused(change(old, "short"), 422, "validation_failed", "body", "new_password")
    fresh = made(change(old, "another-secret"), 200)
    refused(me(shared, token), 401, "token_revoked")
    refused(refresh(shared, tokens["refresh_token"]), 401, "token_revoked")
    assert me(shared, fresh["access_token"]).status == 200
    assert log_in(shared, name, old).status == 401
    assert log_in(shared, name, "another-secret").status == 200


# ------------------------------------------------------------------ limits


def test_too_many_requests(tmp_path):
    limited = support.Collector(tmp_path, api__rate="60", api__burst="20").start()
    try:
        answers = [limited.call("GET", "/api/openapi.json", token="") for _ in range(30)]
        assert answers[0].headers["RateLimit-Limit"] == "20"
        left = [int(a.headers["RateLimit-Remaining"]) for a in answers]
        assert 0 < left[0] < 20 and left == sorted(left, reverse=True)
        over = refused(answers[-1], 429, "rate_limited")
        assert 1 <= int(over.headers["Retry-After"]) <= 60
        assert over.headers["RateLimit-Remaining"] == "0"
        assert int(over.headers["RateLimit-Reset"]) >= 1
    finally:
        limited.stop()


def test_guessing_a_password_is_slow_however_the_name_is_spelled(tmp_path):
    limited = support.Collector(tmp_path, auth__login_rate="3").start()
    try:
        tries = [log_in(limited, name, "wrong-guess") for name in ("admin", "Admin", "aDmin")]
        assert {a.status for a in tries} == {401}
        for name in ("ADMIN", "admin"):
            answer = refused(log_in(limited, name, "wrong-guess"), 429, "rate_limited")
            assert int(answer.headers["Retry-After"]) >= 1
        refused(log_in(limited, "other", "wrong-guess"), 401, "credentials_invalid")
        text = limited.call("GET", "/metrics", token="").text
        assert "wind_http_rate_limited_total 2\n" in text
        assert "wind_auth_failed_total 4\n" in text
    finally:
        limited.stop()


def test_who_knows_the_password_is_never_limited(tmp_path):
    limited = support.Collector(tmp_path, auth__login_rate="2").start()
    try:
        assert {log_in(limited).status for _ in range(6)} == {200}
    finally:
        limited.stop()
