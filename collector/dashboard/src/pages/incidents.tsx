/* The incidents: alerts that belong together, and how far the work on them is. */
import { useEffect } from "react";
import * as api from "../api/client";
import { onLive, onRestart } from "../api/live";
import { INCIDENT_STATUSES, SEVERITIES, type Incident } from "../api/types";
import { count } from "../lib/format";
import { useLoad } from "../lib/load";
import { incidentHref, openRow, replaceQuery } from "../lib/router";
import { useStore } from "../lib/store";
import { span } from "../lib/time";
import { overview } from "../state/overview";
import { ClearSearch, Filters } from "../ui/filters";
import { Empty, Failure, Loading, SeverityBadge, StatusBadge, Time } from "../ui/parts";

const SHOWN = 200;
const REREAD_MS = 800;

const search = (q: string) => replaceQuery("/incidents", new URLSearchParams(q ? { q } : {}));

function Row({ incident }: { incident: Incident }) {
    const first = incident.first_seen ?? incident.created_at;
    const last = incident.last_seen ?? incident.updated_at;
    const hosts = incident.related_entities.slice(0, 3);
    const who = incident.assigned_to;
    return (
        <tr
            className={`row edge-${incident.severity}`}
            data-incident={incident.id}
            onClick={openRow(incidentHref(incident.id))}
        >
            <td className="col-severity">
                <SeverityBadge severity={incident.severity} />
            </td>
            <td className="col-time">
                <Time at={last} />
            </td>
            <td className="col-what">
                <a href={incidentHref(incident.id)}>{incident.title}</a>
                {incident.tags.map((tag) => (
                    <span key={tag} className="tag">
                        {tag}
                    </span>
                ))}
            </td>
            <td className="col-type">{incident.type}</td>
            <td className="col-parties">
                {hosts.map((entity) => (
                    <span key={`${entity.kind} ${entity.value} ${entity.role}`} className="party">
                        {entity.value}
                    </span>
                ))}
                {incident.related_entities.length > hosts.length && (
                    <span className="muted">
                        +{incident.related_entities.length - hosts.length}
                    </span>
                )}
            </td>
            <td className="col-count" title={`over ${span(first, last)}`}>
                {count(incident.alert_count)}
            </td>
            <td className="col-status">
                <StatusBadge status={incident.status} />
                {who && <span className="assignee">{who}</span>}
            </td>
        </tr>
    );
}

function useIncidents(q: string) {
    const loaded = useLoad(`incidents ${q}`, (signal) =>
        api.listIncidents({ q, limit: SHOWN, signal }),
    );
    const { reload } = loaded;
    useEffect(() => {
        let timer = 0;
        const soon = () => {
            timer ||= window.setTimeout(() => {
                timer = 0;
                reload();
            }, REREAD_MS);
        };
        const stops = [
            onLive((events) => events.some((event) => event.type === "incident") && soon()),
            onRestart(soon),
        ];
        return () => {
            clearTimeout(timer);
            for (const stop of stops) stop();
        };
    }, [reload]);
    return loaded;
}

function Table({ incidents }: { incidents: Incident[] }) {
    return (
        <table className="alerts incidents">
            <thead>
                <tr>
                    <th scope="col">Severity</th>
                    <th scope="col">Last seen</th>
                    <th scope="col">What</th>
                    <th scope="col">Kind</th>
                    <th scope="col">Who</th>
                    <th scope="col" className="col-count">
                        Alerts
                    </th>
                    <th scope="col">Status</th>
                </tr>
            </thead>
            <tbody>
                {incidents.map((incident) => (
                    <Row key={incident.id} incident={incident} />
                ))}
            </tbody>
        </table>
    );
}

export function IncidentsPage({ q }: { q: string }) {
    const { value, error, reload } = useIncidents(q);
    const { totals } = useStore(overview);
    return (
        <div className="page">
            <h1 className="offscreen">Incidents</h1>
            <Filters
                what="incidents"
                placeholder="status:open severity:high words"
                q={q}
                onSearch={search}
                chips={[
                    {
                        label: "Status",
                        field: "status",
                        values: INCIDENT_STATUSES,
                        counts: totals?.incidents.by_status,
                    },
                    { label: "Severity", field: "severity", values: SEVERITIES },
                ]}
            />
            <section aria-label="Incidents" className="list">
                {error && <Failure message={error} onRetry={reload} />}
                {!value && !error && <Loading />}
                {value && value.data.length > 0 && <Table incidents={value.data} />}
                {value?.data.length === 0 && (
                    <Empty title={q ? "No incident matches" : "No incident yet"}>
                        {q ? (
                            <ClearSearch onSearch={search} />
                        ) : (
                            <p>
                                Alerts of one host that come close together become an incident here.
                            </p>
                        )}
                    </Empty>
                )}
            </section>
        </div>
    );
}
