/* The numbers around the list: read when the page opens, and again soon after events. */
import * as api from "../api/client";
import { onLive, onRestart } from "../api/live";
import { messageOf } from "../api/problem";
import type { Sensor, Stats } from "../api/types";
import { rangeOf, type Range } from "../lib/query";
import { createStore } from "../lib/store";

export interface Overview {
    stats: Stats | null /* of the range */;
    totals: Stats | null /* of all time */;
    range: Range | null /* null: all there is */;
    error: string;
    sensors: Sensor[] | null;
}

const AFTER_EVENT_MS = 600;
const SENSORS_MS = 15_000;

export const overview = createStore<Overview>({
    stats: null,
    totals: null,
    range: null,
    error: "",
    sensors: null,
});

let timer = 0;
let asked = 0;

export async function readStats(): Promise<void> {
    const turn = ++asked;
    try {
        const { range } = overview.get();
        const [totals, stats] = await Promise.all([
            api.getStats(null),
            range ? api.getStats(range) : null,
        ]);
        if (turn === asked) overview.patch({ totals, stats: stats ?? totals, error: "" });
    } catch (error) {
        if (turn === asked) overview.patch({ error: messageOf(error) });
    }
}

/* The numbers are of the time that the search names. */
export function showRange(q: string): void {
    const range = rangeOf(q);
    const old = overview.get().range;
    if (range?.from === old?.from && range?.to === old?.to) return;
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
    const every = window.setInterval(() => void readSensors(), SENSORS_MS);
    return () => {
        clearInterval(every);
        clearTimeout(timer);
        timer = 0;
        overview.set({ stats: null, totals: null, range: null, error: "", sensors: null });
    };
}
