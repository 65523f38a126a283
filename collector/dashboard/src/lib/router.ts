/*
 * Routes live behind '#', so that every address works from any place the page is served and
 * no filter or address of a host ever reaches a server's log.
 *
 *     #/alerts?q=severity:high   #/alerts/12   #/incidents   #/incidents/3
 */
import { useSyncExternalStore } from "react";

export interface Route {
    page: "alerts" | "alert" | "incidents" | "incident" | "unknown";
    id: number;
    query: URLSearchParams;
}

function parse(hash: string): Route {
    const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
    const [noun = "", id] = path.split("/");
    const found = { id: Number(id ?? 0), query: new URLSearchParams(query) };
    if (id !== undefined && !/^[1-9]\d{0,15}$/.test(id)) return { page: "unknown", ...found };
    if (noun === "" || noun === "alerts") return { page: id ? "alert" : "alerts", ...found };
    if (noun === "incidents") return { page: id ? "incident" : "incidents", ...found };
    return { page: "unknown", ...found };
}

let current = parse(location.hash);
const listeners = new Set<() => void>();

window.addEventListener("hashchange", () => {
    current = parse(location.hash);
    for (const listener of [...listeners]) listener();
});

function subscribe(listener: () => void) {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

export const useRoute = (): Route => useSyncExternalStore(subscribe, () => current);
export const currentRoute = (): Route => current;

export function go(hash: string): void {
    location.hash = hash;
}

/* Same place, other query: no new entry in the history. */
export function replaceQuery(path: string, query: URLSearchParams): void {
    const text = query.toString();
    const hash = `#${path}${text ? `?${text}` : ""}`;
    if (hash === location.hash) return;
    history.replaceState(null, "", hash);
    current = parse(hash);
    for (const listener of [...listeners]) listener();
}

export const alertHref = (id: number): string => `#/alerts/${id}`;
export const incidentHref = (id: number): string => `#/incidents/${id}`;
export const searchHref = (q: string): string =>
    q ? `#/alerts?${new URLSearchParams({ q }).toString()}` : "#/alerts";

/* A click anywhere on a row opens it, but not one on a link in it, or one that ends a selection. */
export const openRow = (href: string) => (event: { target: EventTarget }) => {
    if (event.target instanceof HTMLAnchorElement || window.getSelection()?.toString()) return;
    go(href);
};
