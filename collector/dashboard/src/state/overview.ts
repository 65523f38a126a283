/* The numbers around the list: read when the page opens, and again soon after events. */
import * as api from "../api/client";
import { onLive, onRestart } from "../api/live";
import { messageOf } from "../api/problem";
import { session } from "../api/session";
import type { Sensor, Stats, User } from "../api/types";
import { createStore } from "../lib/store";

export interface Overview {
    stats: Stats | null;
    range: { from: string; to: string } | null; /* null: all there is */
    error: string;
    sensors: Sensor[] | null;
    users: User[];
}

const AFTER_EVENT_MS = 1000;
const SENSORS_MS = 15_000;

export const overview = createStore<Overview>({
    stats: null,
    range: null,
    error: "",
    sensors: null,
    users: [],
});

let timer = 0;
let asked = 0;

export async function readStats(): Promise<void> {
    const turn = ++asked;
    try {
        const stats = await api.getStats(overview.get().range);
        if (turn === asked) overview.patch({ stats, error: "" });
    } catch (error) {
        if (turn === asked) overview.patch({ error: messageOf(error) });
    }
}

export function setRange(range: Overview["range"]): void {
    overview.patch({ range });
    void readStats();
}

async function readSensors(): Promise<void> {
    try {
        overview.patch({ sensors: (await api.listSensors()).data });
    } catch {
        /* the strip keeps what it showed; the live indicator tells that nobody answers */
    }
}

function soon(): void {
    timer ||= window.setTimeout(() => {
        timer = 0;
        void readStats();
    }, AFTER_EVENT_MS);
}

onLive(soon);
onRestart(() => {
    void readStats();
    void readSensors();
});

/* Begin reading for whoever signed in. Returns how to stop. */
export function watchOverview(): () => void {
    void readStats();
    void readSensors();
    api.listUsers().then(
        (users) => overview.patch({ users }),
        () => undefined,
    );
    const every = window.setInterval(() => void readSensors(), SENSORS_MS);
    return () => {
        clearInterval(every);
        clearTimeout(timer);
        timer = 0;
        overview.set({ stats: null, range: null, error: "", sensors: null, users: [] });
    };
}

/* The name behind assigned_to or author, which is a user's number or already a name. */
export function nameOf(who: number | string | null, users: User[]): string {
    if (who === null || who === "") return "";
    const me = session.get().user;
    if (me && (who === me.id || who === me.username)) return me.username;
    if (typeof who === "string") return who;
    return users.find((user) => user.id === who)?.username ?? `user ${who}`;
}
