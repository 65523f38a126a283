/* Times: the browser's zone for reading, UTC in the tooltip, the past in round words. */
import { useEffect, useState } from "react";

const clock = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const dayAndYear = new Intl.DateTimeFormat(undefined, {
    year: "numeric",
    month: "short",
    day: "numeric",
});

export function utc(iso: string): string {
    const t = new Date(iso);
    return Number.isNaN(t.getTime()) ? iso : t.toISOString().replace("T", " ").replace("Z", " UTC");
}

export const localClock = (t: Date): string => clock.format(t);

export function localDay(t: Date, now = new Date()): string {
    return t.getFullYear() === now.getFullYear() ? day.format(t) : dayAndYear.format(t);
}

/* Today only the clock; before that the day too; another year says so. */
export function local(iso: string): string {
    const t = new Date(iso);
    if (Number.isNaN(t.getTime())) return iso;
    const isToday = t.toDateString() === new Date().toDateString();
    return isToday ? localClock(t) : `${localDay(t)}, ${localClock(t)}`;
}

export function ago(iso: string, now: number): string {
    const seconds = (now - new Date(iso).getTime()) / 1000;
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 5) return "now";
    if (seconds < 90) return `${Math.round(seconds)} s ago`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
    if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
    const days = Math.round(seconds / 86400);
    return days < 700 ? `${days} days ago` : `${Math.round(days / 365.25)} years ago`;
}

export function span(firstIso: string, lastIso: string): string {
    const seconds = (new Date(lastIso).getTime() - new Date(firstIso).getTime()) / 1000;
    if (!Number.isFinite(seconds) || seconds < 1) return "under a second";
    if (seconds < 120) return `${Math.round(seconds)} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
    return `${Math.round(seconds / 86400)} days`;
}

/* The time now, moving once every `everyMs`, for words such as "2 min ago". */
export function useNow(everyMs = 10_000): number {
    const [now, setNow] = useState(Date.now);
    useEffect(() => {
        const timer = setInterval(() => setNow(Date.now()), everyMs);
        return () => clearInterval(timer);
    }, [everyMs]);
    return now;
}
