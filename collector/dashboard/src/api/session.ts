/*
 * session.ts - who is signed in, and the tokens that prove it.
 *
 * Why      A request needs an access token that is still good; nobody else should know how.
 * Owns     The access token (in memory only) and the refresh token (sessionStorage, so that a
 *          reload keeps the session and closing the tab ends it).
 * Threads  Tabs: a copied tab has the same refresh token, and using one twice ends the session for
 *          both. So refreshing holds a lock, and the new pair is told to the other tabs.
 */
import { createStore } from "../lib/store";
import { ApiError, noAnswer, problemOf } from "./problem";
import type { User } from "./types";

export interface SessionState {
    phase: "starting" | "out" | "in";
    user: User | null;
    note: string /* why the sign-in page is shown, when it was not the user's wish */;
}

interface TokenPair {
    access_token: string;
    refresh_token: string;
    expires_in: number;
}

const STORED = "wind.refresh";
const EARLY_MS = 60_000; /* refresh that long before the end */

export const session = createStore<SessionState>({ phase: "starting", user: null, note: "" });

let access = "";
let refreshToken = sessionStorage.getItem(STORED) ?? "";
let goodUntil = 0;
let refreshing: Promise<void> | null = null;

const tabs = "BroadcastChannel" in window ? new BroadcastChannel("wind.session") : null;
tabs?.addEventListener("message", (event: MessageEvent<{ used: string; pair: TokenPair }>) => {
    if (refreshToken && event.data.used === refreshToken) keep(event.data.pair);
});

function keep(pair: TokenPair): void {
    access = pair.access_token;
    refreshToken = pair.refresh_token;
    goodUntil = Date.now() + pair.expires_in * 1000;
    sessionStorage.setItem(STORED, refreshToken);
}

function forget(note: string): void {
    access = refreshToken = "";
    goodUntil = 0;
    sessionStorage.removeItem(STORED);
    session.set({ phase: "out", user: null, note });
}

async function post(path: string, form: Record<string, string>): Promise<TokenPair> {
    const body = new URLSearchParams(form);
    const response = await fetch(path, { method: "POST", body }).catch(() => {
        throw noAnswer();
    });
    if (!response.ok) throw await problemOf(response);
    return (await response.json()) as TokenPair;
}

async function refreshNow(before: string): Promise<void> {
    if (refreshToken !== before) return; /* another tab did it while this one waited */
    try {
        const form = { grant_type: "refresh_token", refresh_token: before };
        const pair = await post("/api/auth/token", form);
        keep(pair);
        tabs?.postMessage({ used: before, pair });
    } catch (error) {
        if (error instanceof ApiError && [400, 401, 403].includes(error.status))
            forget("Your session has ended. Sign in again.");
        throw error;
    }
}

async function refreshInTurn(): Promise<void> {
    const before = refreshToken;
    if (navigator.locks) await navigator.locks.request("wind.refresh", () => refreshNow(before));
    else await refreshNow(before); /* plain HTTP on another host has no locks */
}

function refresh(): Promise<void> {
    refreshing ??= refreshInTurn().finally(() => {
        refreshing = null;
    });
    return refreshing;
}

/* A token that is good for the next minute. Throws when the session is over or nobody answers. */
export async function accessToken(isRejected = false): Promise<string> {
    if (!refreshToken && !access) throw new ApiError(401, "token_missing", "Sign in first.");
    if (refreshToken && (isRejected || Date.now() > goodUntil - EARLY_MS)) await refresh();
    return access;
}

async function fetchUser(): Promise<User> {
    const headers = { Authorization: `Bearer ${await accessToken()}` };
    const response = await fetch("/api/auth/me", { headers }).catch(() => {
        throw noAnswer();
    });
    if (!response.ok) throw await problemOf(response);
    return (await response.json()) as User;
}

/* Throws the sentence to show. */
export async function signIn(username: string, password: string): Promise<void> {
    try {
        keep(await post("/api/auth/token", { grant_type: "password", username, password }));
    } catch (error) {
        if (error instanceof ApiError && error.status === 401)
            throw new ApiError(401, error.code, "Wrong user name or password.");
        throw error;
    }
    session.set({ phase: "in", user: await fetchUser(), note: "" });
}

export async function signOut(): Promise<void> {
    const headers = { Authorization: `Bearer ${access}`, "Content-Type": "application/json" };
    const body = JSON.stringify({ refresh_token: refreshToken });
    forget("");
    await fetch("/api/auth/logout", { method: "POST", headers, body }).catch(() => undefined);
}

/* Called once: go on with the session of before the reload, if there is one. */
export async function resumeSession(): Promise<void> {
    if (!refreshToken) return forget("");
    try {
        session.set({ phase: "in", user: await fetchUser(), note: "" });
    } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 0) return forget("Sign in again.");
        session.patch({ note: error.message });
        setTimeout(() => void resumeSession(), 3000);
    }
}

export const may = (user: User | null, permission: string): boolean =>
    user?.permissions.includes(permission) ?? false;
