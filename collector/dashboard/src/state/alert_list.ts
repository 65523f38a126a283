/*
 * alert_list.ts - the list of alerts that the page shows, kept up to date.
 *
 * Why      Events, filters, paging and triage all change the same list, and it must still be there,
 *          at the same place, when the reader comes back from one alert.
 * Owns     The rows, in the order of the list, and which of them arrived while looking.
 * Bounds   At most ROWS_MAX rows; beyond, the list starts again from its first page.
 *
 * Without a filter an event goes straight into the rows. With one, only the collector knows
 * whether the alert matches, so the first page is read again, at most every REREAD_MS.
 */
import * as api from "../api/client";
import { onLive, onRestart, type LiveEvent } from "../api/live";
import { messageOf } from "../api/problem";
import type { Alert } from "../api/types";
import { createStore } from "../lib/store";

export interface AlertList {
    q: string;
    rows: Alert[];
    cursor: string | null;
    loading: "" | "first" | "more";
    error: string;
    arrived: ReadonlySet<number> /* came while the page was open, and not looked at yet */;
    selected: number /* id, 0 = none */;
    notice: string /* for screen readers: what just came */;
}

const PAGE = 60;
const ROWS_MAX = 1500;
const REREAD_MS = 800;

export const alertList = createStore<AlertList>({
    q: "",
    rows: [],
    cursor: null,
    loading: "",
    error: "",
    arrived: new Set(),
    selected: 0,
    notice: "",
});

let asked = 0; /* answers to older questions are dropped */
let rereadTimer = 0;
let isLoaded = false;

/* Newest first, as the collector sorts. */
const byTime = (a: Alert, b: Alert) => b.detected_at.localeCompare(a.detected_at) || b.id - a.id;

async function read(limit: number, loading: AlertList["loading"]): Promise<void> {
    const turn = ++asked;
    alertList.patch({ loading, error: "" });
    try {
        const page = await api.listAlerts({ q: alertList.get().q, limit });
        if (turn !== asked) return;
        isLoaded = true;
        alertList.patch({ rows: page.data, cursor: page.next_cursor, loading: "" });
    } catch (error) {
        if (turn === asked) alertList.patch({ loading: "", error: messageOf(error) });
    }
}

export const reloadAlerts = (): Promise<void> => read(PAGE, "first");

export function showAlerts(q: string): void {
    if (isLoaded && q === alertList.get().q) return;
    alertList.patch({ q, rows: [], cursor: null, selected: 0 });
    void reloadAlerts();
}

export async function moreAlerts(): Promise<void> {
    const { cursor, loading, q, rows } = alertList.get();
    if (!cursor || loading) return;
    const turn = asked;
    alertList.patch({ loading: "more" });
    try {
        const page = await api.listAlerts({ q, limit: PAGE, cursor });
        if (turn !== asked) return;
        const known = new Set(rows.map((row) => row.id));
        const added = page.data.filter((row) => !known.has(row.id));
        const all = [...alertList.get().rows, ...added];
        alertList.patch({ rows: all, cursor: page.next_cursor, loading: "" });
    } catch (error) {
        if (turn === asked) alertList.patch({ loading: "", error: messageOf(error) });
    }
}

export function selectAlert(id: number): void {
    alertList.patch({ selected: id });
}

/* The next (1) or previous (-1) row; stays at the ends. */
export function neighbour(id: number, step: 1 | -1): number {
    const { rows } = alertList.get();
    const at = rows.findIndex((row) => row.id === id);
    if (at < 0) return rows[0]?.id ?? 0;
    return rows[Math.min(Math.max(at + step, 0), rows.length - 1)]?.id ?? 0;
}

/* It was looked at: no longer marked as new. */
export function sawAlert(id: number): void {
    const { arrived } = alertList.get();
    if (!arrived.has(id)) return;
    const rest = new Set(arrived);
    rest.delete(id);
    alertList.patch({ arrived: rest });
}

export function sawAllAlerts(): void {
    if (alertList.get().arrived.size) alertList.patch({ arrived: new Set() });
}

/* A newer version of a row, from an event or from our own change. */
export function replaceAlert(alert: Alert): void {
    const { rows } = alertList.get();
    if (!rows.some((row) => row.id === alert.id)) return;
    alertList.patch({ rows: rows.map((row) => (row.id === alert.id ? alert : row)) });
}

function merged(rows: Alert[], events: Alert[]): Alert[] {
    const byId = new Map(rows.map((row) => [row.id, row]));
    const oldest = alertList.get().cursor ? rows.at(-1) : undefined;
    for (const alert of events) {
        const isBelow = oldest && !byId.has(alert.id) && byTime(oldest, alert) < 0;
        if (!isBelow) byId.set(alert.id, alert); /* below the last row: a later page has it */
    }
    return [...byId.values()].sort(byTime);
}

function reread(): void {
    rereadTimer ||= window.setTimeout(() => {
        rereadTimer = 0;
        const { rows } = alertList.get();
        void read(Math.min(Math.max(rows.length, PAGE), 200), "");
    }, REREAD_MS);
}

function noticeOf(created: Alert[]): string {
    const last = created.at(-1);
    if (!last) return alertList.get().notice;
    if (created.length > 1) return `${created.length} new alerts`;
    return `New ${last.severity} alert: ${last.description}`;
}

function take(events: LiveEvent[]): void {
    const alerts = events.flatMap((event) => (event.type === "alert" ? [event] : []));
    if (alerts.length === 0 || !isLoaded) return;
    const created = alerts.filter((event) => event.op === "created").map((event) => event.data);
    const { arrived, q, rows } = alertList.get();
    const notice = noticeOf(created);
    alertList.patch({ arrived: new Set([...arrived, ...created.map((a) => a.id)]), notice });

    if (q) {
        for (const event of alerts) replaceAlert(event.data);
        return reread();
    }
    const next = merged(
        rows,
        alerts.map((event) => event.data),
    );
    if (next.length > ROWS_MAX) return void reloadAlerts();
    alertList.patch({ rows: next });
}

onLive(take);
onRestart(() => isLoaded && reread());
