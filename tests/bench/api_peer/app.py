"""What script/bench collector runs beside: FastAPI, asyncpg, Redis and argon2, tuned with care."""

import asyncio
import base64
import gc
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import argon2
import asyncpg
import jwt
import orjson
import redis.asyncio
from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

DSN = os.environ["PEER_DSN"]
REDIS = os.environ["PEER_REDIS"]
SECRET = os.environ["PEER_SECRET"]
POOL = int(os.environ.get("PEER_POOL", "64"))
TOKEN_SECONDS = 900

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ALERT = (
    "id, uid::text, detected_at, severity, type, source, description, status, metadata,"
    " related_entities"
)
INCIDENT = "id, uid::text, title, severity, status, summary, assignee_id, created_at, updated_at"
USER = "id, username, email, role, is_active, created_at"

Severity = Literal["low", "medium", "high", "critical"]
Limit = Annotated[int, Query(ge=1, le=500)]
hasher = argon2.PasswordHasher()
hashers = ThreadPoolExecutor(len(os.sched_getaffinity(0)))  # argon2 lets go of the GIL
DUMMY_HASH = hasher.hash("nobody")


class Entity(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["ip", "host", "user", "domain", "file"]
    value: Annotated[str, Field(min_length=1, max_length=256)]


class AlertIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    uid: UUID | None = None
    detected_at: datetime | None = None
    severity: Severity
    type: Annotated[str, Field(min_length=1, max_length=64)]
    source: Annotated[str, Field(min_length=1, max_length=128)]
    description: Annotated[str, Field(max_length=4096)]
    status: Literal["new", "acknowledged", "closed"] = "new"
    metadata: dict[str, Any] = {}
    related_entities: Annotated[list[Entity], Field(max_length=64)] = []


class IncidentIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: Annotated[str, Field(min_length=1, max_length=256)]
    severity: Severity
    summary: Annotated[str, Field(max_length=4096)] = ""
    alert_ids: Annotated[list[int], Field(max_length=1000)] = []


async def setup_connection(connection):
    # JSON goes through as it is: no parse on read, and no second print on write.
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="text", encoder=str, decoder=orjson.Fragment
    )


async def keep_session(_connection):
    """asyncpg resets the session at each release: a round trip that nobody needs here."""


@asynccontextmanager
async def lifespan(app):
    global db, blacklist
    db = await asyncpg.create_pool(
        DSN,
        min_size=POOL,
        max_size=POOL,
        init=setup_connection,
        reset=keep_session,
        max_inactive_connection_lifetime=0,
    )
    blacklist = redis.asyncio.from_url(REDIS)
    gc.collect()
    gc.freeze()
    yield
    await db.close()
    await blacklist.aclose()


app = FastAPI(lifespan=lifespan, telemetry={"tracing": False, "metrics": False, "logs": False})


def reply(value, status=200):
    return Response(orjson.dumps(value), status, media_type="application/json")


def uuid7():
    stamp = time.time_ns() // 1_000_000
    return UUID(
        int=stamp << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    )


def read_cursor(cursor):
    try:
        stamp, row = base64.urlsafe_b64decode(cursor).split(b".")
        return EPOCH + int(stamp) * MICROSECOND, int(row)
    except ValueError:
        raise HTTPException(422, "cursor_invalid") from None


def page(rows, limit, key):
    data = [dict(row) for row in rows[:limit]]
    cursor = None
    if len(rows) > limit:
        last = data[-1]
        cursor = base64.urlsafe_b64encode(
            b"%d.%d" % ((last[key] - EPOCH) // MICROSECOND, last["id"])
        ).decode()
    return reply({"data": data, "next_cursor": cursor})


async def read_page(table, columns, key, limit, cursor, **equal):
    """One keyset page, newest first. The text of the query repeats, so asyncpg prepares it once."""
    args, where = [limit + 1], []
    for name, value in equal.items():
        if value is not None:
            args.append(value)
            where.append(f"{name} = ${len(args)}")
    if cursor:
        args += read_cursor(cursor)
        where.append(f"({key}, id) < (${len(args) - 1}, ${len(args)})")
    clause = "WHERE " + " AND ".join(where) if where else ""
    rows = await db.fetch(
        f"SELECT {columns} FROM {table} {clause} ORDER BY {key} DESC, id DESC LIMIT $1", *args
    )
    return page(rows, limit, key)


def allow(*roles):
    """The whole of authentication and permission as one dependency: every level more costs."""

    async def check(request: Request):
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise HTTPException(401, "token_missing")
        try:
            claims = jwt.decode(
                token, SECRET, algorithms=["HS256"], options={"require": ["exp", "jti", "sub"]}
            )
        except jwt.ExpiredSignatureError:
            raise HTTPException(401, "token_expired") from None
        except jwt.InvalidTokenError:
            raise HTTPException(401, "credentials_invalid") from None
        if await blacklist.exists("revoked:" + claims["jti"]):
            raise HTTPException(401, "token_revoked")
        if claims["role"] not in roles:
            raise HTTPException(403, "needs role " + " or ".join(roles))
        return claims

    return check


reader = Depends(allow("admin", "analyst", "viewer"))
writer = Depends(allow("admin", "analyst"))
admin = Depends(allow("admin"))


@app.get("/healthz")
async def healthz():
    return Response(b'{"status":"ok"}', media_type="application/json")


def password_matches(stored, password):
    try:
        return hasher.verify(stored, password)
    except argon2.exceptions.VerificationError:
        return False


@app.post("/api/auth/token")
async def login(
    grant_type: Annotated[Literal["password"], Form()],
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
):
    user = await db.fetchrow(
        "SELECT id, role, password_hash FROM users WHERE username = $1 AND is_active", username
    )
    stored = user["password_hash"] if user else DUMMY_HASH
    matches = await asyncio.get_running_loop().run_in_executor(
        hashers, password_matches, stored, password
    )
    if not user or not matches:
        raise HTTPException(401, "credentials_invalid")
    claims = {
        "sub": str(user["id"]),
        "role": user["role"],
        "jti": secrets.token_hex(16),
        "exp": int(time.time()) + TOKEN_SECONDS,
    }
    return reply(
        {
            "access_token": jwt.encode(claims, SECRET, "HS256"),
            "token_type": "bearer",
            "expires_in": TOKEN_SECONDS,
        }
    )


@app.post("/api/auth/logout", status_code=204)
async def logout(claims: Annotated[dict, reader]):
    await blacklist.setex(
        "revoked:" + claims["jti"], max(1, claims["exp"] - int(time.time())), b"1"
    )


@app.get("/api/auth/me")
async def me(claims: Annotated[dict, reader]):
    user = await db.fetchrow(f"SELECT {USER} FROM users WHERE id = $1", int(claims["sub"]))
    if not user:
        raise HTTPException(401, "credentials_invalid")
    return reply(dict(user))


@app.get("/api/alerts/", dependencies=[reader])
async def list_alerts(
    limit: Limit = 50, cursor: str | None = None, severity: Severity | None = None
):
    return await read_page("alerts", ALERT, "detected_at", limit, cursor, severity=severity)


@app.post("/api/alerts/", dependencies=[writer])
async def create_alert(alert: AlertIn):
    try:
        row = await db.fetchrow(
            "INSERT INTO alerts (uid, detected_at, severity, type, source, description, status,"
            " metadata, related_entities) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            f" RETURNING {ALERT}",
            alert.uid or uuid7(),
            alert.detected_at or datetime.now(UTC),
            alert.severity,
            alert.type,
            alert.source,
            alert.description,
            alert.status,
            orjson.dumps(alert.metadata).decode(),
            orjson.dumps([entity.model_dump() for entity in alert.related_entities]).decode(),
        )
    except asyncpg.UniqueViolationError:
        raise HTTPException(409, "uid_exists") from None
    return reply(dict(row), 201)


@app.get("/api/alerts/{alert_id}", dependencies=[reader])
async def get_alert(alert_id: int):
    row = await db.fetchrow(f"SELECT {ALERT} FROM alerts WHERE id = $1", alert_id)
    if not row:
        raise HTTPException(404, "alert_not_found")
    return reply(dict(row))


@app.get("/api/incidents/", dependencies=[reader])
async def list_incidents(
    limit: Limit = 50,
    cursor: str | None = None,
    status: Literal["open", "investigating", "resolved"] | None = None,
):
    return await read_page("incidents", INCIDENT, "created_at", limit, cursor, status=status)


@app.post("/api/incidents/", dependencies=[writer])
async def create_incident(incident: IncidentIn):
    try:
        async with db.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "INSERT INTO incidents (uid, title, severity, summary) VALUES ($1, $2, $3, $4)"
                f" RETURNING {INCIDENT}",
                uuid7(),
                incident.title,
                incident.severity,
                incident.summary,
            )
            await connection.execute(
                "INSERT INTO incident_alerts SELECT DISTINCT $1::bigint, unnest($2::bigint[])",
                row["id"],
                incident.alert_ids,
            )
    except asyncpg.ForeignKeyViolationError:
        raise HTTPException(422, "alert_not_found") from None
    return reply(dict(row), 201)


@app.get("/api/users/", dependencies=[admin])
async def list_users(limit: Limit = 50, cursor: str | None = None):
    return await read_page("users", USER, "created_at", limit, cursor)
