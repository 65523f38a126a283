/*
 * live.ts - the WebSocket that brings alerts and incidents as they happen.
 *
 * Why      The list moves without a reload, and no event is lost or shown twice.
 * Owns     One socket, the sequence number of the last event seen, the timers.
 * Bounds   Events are handed over in batches, at most ten a second, so that a replay at full speed
 *          costs ten paints a second. Reconnecting waits 0.5 s, doubling up to 30 s, with jitter.
 *          A link that is silent for SILENT_MS is taken for dead.
 */
import { createStore } from "../lib/store";
import { ApiError } from "./problem";
import { accessToken } from "./session";
import type { Alert, Incident } from "./types";

export type LiveEvent =
    | { type: "alert"; seq: number; op: "created" | "updated"; data: Alert }
    | { type: "incident"; seq: number; op: "created" | "updated"; data: Incident };

type Message = LiveEvent | { type: "ready" | "gap"; seq: number } | { type: "ping" | "error" };

type Listener = (events: LiveEvent[]) => void;

const BATCH_MS = 100;
const SILENT_MS = 75_000;
const WAIT_FIRST_MS = 500;
const WAIT_MAX_MS = 30_000;

export const live = createStore<{ state: "off" | "connecting" | "live" | "waiting" }>({
    state: "off",
});

const listeners = new Set<Listener>();
const restarted = new Set<() => void>();
let socket: WebSocket | null = null;
let toldToken = "";
let lastSeq: number | null = null;
let waitMs = WAIT_FIRST_MS;
let retryTimer = 0;
let silenceTimer = 0;
let batchTimer = 0;
let batch: LiveEvent[] = [];

/* Hear every event from now on. Returns how to stop. */
export function onLive(listener: Listener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

/* Hear when events may have been missed, so that what is shown should be read again. */
export function onRestart(listener: () => void): () => void {
    restarted.add(listener);
    return () => restarted.delete(listener);
}

function deliver(): void {
    batchTimer = 0;
    const events = batch;
    batch = [];
    for (const listener of [...listeners]) listener(events);
}

function heard(): void {
    clearTimeout(silenceTimer);
    silenceTimer = window.setTimeout(() => socket?.close(), SILENT_MS);
}

function take(message: Message): void {
    heard();
    switch (message.type) {
        case "ready":
            live.set({ state: "live" });
            waitMs = WAIT_FIRST_MS;
            if (lastSeq === null || message.seq < lastSeq) {
                lastSeq = message.seq;
                for (const listener of [...restarted]) listener();
            }
            break;
        case "gap":
            lastSeq = message.seq;
            for (const listener of [...restarted]) listener();
            break;
        case "ping":
            socket?.send('{"type":"pong"}');
            void renew(socket);
            break;
        case "alert":
        case "incident":
            if (lastSeq !== null && message.seq <= lastSeq) return;
            lastSeq = message.seq;
            batch.push(message);
            batchTimer ||= window.setTimeout(deliver, BATCH_MS);
            break;
    }
}

/* The connection lives as long as its token: tell the newer one before the old one ends. */
async function renew(mine: WebSocket | null): Promise<void> {
    const token = await accessToken().catch(() => toldToken);
    if (!mine || mine !== socket || token === toldToken) return;
    toldToken = token;
    mine.send(JSON.stringify({ type: "auth", token }));
}

function retryLater(): void {
    socket = null;
    clearTimeout(silenceTimer);
    if (live.get().state === "off") return;
    live.set({ state: "waiting" });
    clearTimeout(retryTimer);
    retryTimer = window.setTimeout(() => void connect(), waitMs * (0.75 + Math.random() / 2));
    waitMs = Math.min(waitMs * 2, WAIT_MAX_MS);
}

async function connect(): Promise<void> {
    clearTimeout(retryTimer);
    live.set({ state: "connecting" });
    let token: string;
    try {
        token = await accessToken();
    } catch (error) {
        if (error instanceof ApiError && error.status === 401) return stopLive();
        return retryLater();
    }
    if (live.get().state === "off") return;

    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(`${scheme}//${location.host}/api/ws`);
    socket = mine;
    mine.addEventListener("open", () => {
        heard();
        toldToken = token;
        mine.send(JSON.stringify({ type: "auth", token }));
        const topics = ["alerts", "incidents"];
        mine.send(JSON.stringify({ type: "subscribe", topics, since: lastSeq }));
    });
    mine.addEventListener("message", (event: MessageEvent<string>) => {
        if (mine === socket) take(JSON.parse(event.data) as Message);
    });
    mine.addEventListener("close", () => {
        if (mine === socket) retryLater();
    });
}

export function startLive(): void {
    if (live.get().state !== "off") return;
    lastSeq = null;
    waitMs = WAIT_FIRST_MS;
    void connect();
}

export function stopLive(): void {
    live.set({ state: "off" });
    clearTimeout(retryTimer);
    clearTimeout(silenceTimer);
    const mine = socket;
    socket = null;
    mine?.close();
}

/* The network came back, or the tab was woken: do not wait for the timer. */
function hurry(): void {
    if (live.get().state === "waiting") void connect();
}
window.addEventListener("online", hurry);
document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") hurry();
});
