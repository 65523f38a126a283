/* The collector's API, one function a call. Everything throws ApiError. */
import { noAnswer, problemOf } from "./problem";
import { accessToken } from "./session";
import type { Alert, Incident, Page, Sensor, Stats } from "./types";

interface Options {
    method?: "GET" | "POST" | "PATCH";
    body?: unknown;
    ifMatch?: string;
    signal?: AbortSignal | undefined;
}

async function send(path: string, options: Options, isRejected: boolean): Promise<Response> {
    const headers: Record<string, string> = {
        Authorization: `Bearer ${await accessToken(isRejected)}`,
    };
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    if (options.ifMatch) headers["If-Match"] = options.ifMatch;
    const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-store" };
    if (options.body !== undefined) init.body = JSON.stringify(options.body);
    if (options.signal) init.signal = options.signal;
    return fetch(path, init).catch((error: unknown) => {
        if (error instanceof DOMException && error.name === "AbortError") throw error;
        throw noAnswer();
    });
}

async function request(path: string, options: Options = {}): Promise<Response> {
    let response = await send(path, options, false);
    if (response.status === 401) response = await send(path, options, true);
    if (!response.ok) throw await problemOf(response);
    return response;
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return (await (await request(path, { signal })).json()) as T;
}

export interface ListOptions {
    q?: string;
    sort?: string;
    cursor?: string | null;
    limit?: number;
    signal?: AbortSignal | undefined;
}

function listPath(noun: string, options: ListOptions): string {
    const query = new URLSearchParams();
    if (options.limit) query.set("limit", String(options.limit));
    if (options.q) query.set("q", options.q);
    if (options.sort) query.set("sort", options.sort);
    if (options.cursor) query.set("cursor", options.cursor);
    return `/api/${noun}/?${query.toString()}`;
}

export const listAlerts = (options: ListOptions): Promise<Page<Alert>> =>
    get(listPath("alerts", options), options.signal);

export const getAlert = (id: number, signal?: AbortSignal): Promise<Alert> =>
    get(`/api/alerts/${id}`, signal);

export type AlertChange = Partial<Pick<Alert, "status" | "verdict" | "assigned_to">>;

export async function patchAlert(id: number, body: AlertChange): Promise<Alert> {
    const response = await request(`/api/alerts/${id}`, { method: "PATCH", body });
    return (await response.json()) as Alert;
}

export const listIncidents = (options: ListOptions): Promise<Page<Incident>> =>
    get(listPath("incidents", options), options.signal);

/* An incident with the ETag that a change must carry. */
export interface Tagged {
    incident: Incident;
    etag: string;
}

const tagged = async (response: Response): Promise<Tagged> => ({
    incident: (await response.json()) as Incident,
    etag: response.headers.get("ETag") ?? "",
});

export const getIncident = async (id: number, signal?: AbortSignal): Promise<Tagged> =>
    tagged(await request(`/api/incidents/${id}`, { signal }));

export type IncidentChange = Partial<
    Pick<Incident, "status" | "severity" | "title" | "description" | "assigned_to" | "tags">
> & { comment?: string };

export async function patchIncident(
    id: number,
    etag: string,
    body: IncidentChange,
): Promise<Tagged> {
    const options: Options = { method: "PATCH", body };
    if (etag) options.ifMatch = etag;
    return tagged(await request(`/api/incidents/${id}`, options));
}

export function getStats(range: { from: string; to: string } | null): Promise<Stats> {
    const query = range ? `?${new URLSearchParams(range).toString()}` : "";
    return get(`/api/stats/${query}`);
}

export const listSensors = (): Promise<Page<Sensor>> => get("/api/sensors/");
