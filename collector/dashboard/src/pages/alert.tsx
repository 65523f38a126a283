/* One alert: why it was raised, who and what it is about, and what is done about it. */
import { useEffect, useState } from "react";
import * as api from "../api/client";
import { onLive } from "../api/live";
import { messageOf } from "../api/problem";
import { ALERT_STATUSES, VERDICTS, type Alert, type Verdict } from "../api/types";
import { Why } from "../charts/why";
import { count, number, pValue, title, words } from "../lib/format";
import { useKeys } from "../lib/keys";
import { useLoad } from "../lib/load";
import { alertHref, go, incidentHref, searchHref } from "../lib/router";
import { alertList, neighbour, replaceAlert, sawAlert, selectAlert } from "../state/alert_list";
import { Absent, DetailHead } from "../ui/detail";
import {
    CopyButton,
    Empty,
    Failure,
    Loading,
    Panel,
    SeverityBadge,
    Technique,
    Time,
} from "../ui/parts";
import { EntitiesPanel, Seen, WorkPanel } from "../ui/work";

const RELATED_SHOWN = 8;

const backHref = () => searchHref(alertList.get().q);

const JUDGEMENTS = [
    { value: "", text: "Not judged yet" },
    ...VERDICTS.map((verdict) => ({ value: verdict, text: title(verdict) })),
];

function Triage({ alert, onChange }: { alert: Alert; onChange: (alert: Alert) => void }) {
    const [error, setError] = useState("");
    const [isBusy, setBusy] = useState(false);

    const change = (body: api.AlertChange) => {
        setBusy(true);
        setError("");
        api.patchAlert(alert.id, body)
            .then(onChange, (failure: unknown) => setError(messageOf(failure)))
            .finally(() => setBusy(false));
    };

    return (
        <WorkPanel
            title="Triage"
            of={alert}
            steps={ALERT_STATUSES}
            permission="alerts:write"
            choice={{
                label: "Verdict",
                value: alert.verdict ?? "",
                options: JUDGEMENTS,
                onChoose: (value) => change({ verdict: (value || null) as Verdict | null }),
            }}
            isBusy={isBusy}
            failure={error}
            onChange={change}
        />
    );
}

function ends(ip: string | undefined, port: number | undefined): string {
    if (!ip) return "–";
    if (!port) return ip;
    return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function Facts({ alert }: { alert: Alert }) {
    const meta = alert.metadata;
    const first = meta.first_seen ?? alert.detected_at;
    const last = meta.last_seen ?? alert.detected_at;
    const flow = meta.flow;
    return (
        <Panel title="Facts">
            <dl className="facts">
                <Seen first={first} last={last} />
                <dt>Count</dt>
                <dd>{count(meta.count ?? 1)}</dd>
                <dt>Detector</dt>
                <dd>{words(alert.type)}</dd>
                {meta.model && (
                    <>
                        <dt>Model</dt>
                        <dd title={meta.schema ? `Feature schema ${meta.schema}` : undefined}>
                            {meta.model}
                        </dd>
                    </>
                )}
                <dt>Sensor</dt>
                <dd>{alert.source}</dd>
                {flow?.src_ip && (
                    <>
                        <dt>Flow</dt>
                        <dd className="mono">
                            {ends(flow.src_ip, flow.src_port)} →{" "}
                            {ends(flow.dest_ip, flow.dest_port)}
                        </dd>
                        <dt>Protocol</dt>
                        <dd>
                            {[flow.proto, flow.app_proto === "unknown" ? "" : flow.app_proto]
                                .filter(Boolean)
                                .join(" / ")}
                        </dd>
                    </>
                )}
                {meta.pcap_filename && (
                    <>
                        <dt>Capture</dt>
                        <dd className="mono">{meta.pcap_filename}</dd>
                    </>
                )}
                {meta.analysis_level && meta.analysis_level !== "full" && (
                    <>
                        <dt>Analysis level</dt>
                        <dd>{meta.analysis_level}</dd>
                    </>
                )}
                <dt>Alert id</dt>
                <dd className="with-copy">
                    <span className="mono uid">{alert.uid}</span>
                    <CopyButton text={alert.uid} what="alert id" />
                </dd>
            </dl>
        </Panel>
    );
}

function CommunityIds({ alert }: { alert: Alert }) {
    const own = alert.metadata.flow?.community_id;
    const ids = [...new Set([...(alert.metadata.community_ids ?? []), ...(own ? [own] : [])])];
    if (ids.length === 0) return null;
    return (
        <Panel title="Community IDs">
            <p className="muted pad-x">Find the same flows in Suricata, Zeek or Arkime.</p>
            <ul className="community-ids">
                {ids.map((id) => (
                    <li key={id}>
                        <span className="mono">{id}</span>
                        <CopyButton text={id} what="Community ID" />
                    </li>
                ))}
            </ul>
        </Panel>
    );
}

function Related({ alert }: { alert: Alert }) {
    const ids = alert.related_alerts.filter((id) => id !== alert.id).slice(0, RELATED_SHOWN);
    const { value, error } = useLoad(ids.join(" "), (signal) =>
        Promise.all(ids.map((id) => api.getAlert(id, signal))),
    );
    if (ids.length === 0) return null;
    return (
        <Panel
            title="Related alerts"
            aside={
                alert.incident_id ? (
                    <a href={incidentHref(alert.incident_id)}>
                        All of incident #{alert.incident_id}
                    </a>
                ) : null
            }
        >
            {error && <Failure message={error} />}
            {!value && !error && <Loading rows={2} />}
            <ul className="mini-list">
                {value?.map((other) => (
                    <li key={other.id} className={`edge-${other.severity}`}>
                        <SeverityBadge severity={other.severity} />
                        <a href={alertHref(other.id)}>{other.description}</a>
                        <span className="muted">
                            <Time at={other.detected_at} />
                        </span>
                    </li>
                ))}
            </ul>
        </Panel>
    );
}

function ScoreLine({ alert }: { alert: Alert }) {
    const { score, p_value: p } = alert.metadata;
    if (typeof score !== "number") return null;
    return (
        <span className="score" title="0 is ordinary, 1 is as bad as it gets">
            Score <b>{number(score)}</b>
            {typeof p === "number" && (
                <span title="How often ordinary traffic scores this high"> · p {pValue(p)}</span>
            )}
        </span>
    );
}

function Head({ alert }: { alert: Alert }) {
    const { technique } = alert.metadata;
    return (
        <DetailHead
            of={alert}
            list="Alerts"
            back={backHref()}
            title={alert.description}
            more={
                alert.incident_id && (
                    <a className="incident-link" href={incidentHref(alert.incident_id)}>
                        Incident #{alert.incident_id}
                    </a>
                )
            }
        >
            <div className="detail-line muted">
                <Time at={alert.detected_at} />
                {technique && (
                    <Technique id={technique.id} name={technique.name} tactic={technique.tactic} />
                )}
                <ScoreLine alert={alert} />
            </div>
        </DetailHead>
    );
}

function useAlert(id: number) {
    const loaded = useLoad(`alert ${id}`, (signal) => api.getAlert(id, signal));
    const { set } = loaded;
    useEffect(() => {
        selectAlert(id);
        sawAlert(id);
        return onLive((events) => {
            for (const event of events)
                if (event.type === "alert" && event.data.id === id) set(event.data);
        });
    }, [id, set]);
    return loaded;
}

export function AlertPage({ id }: { id: number }) {
    const { value: alert, error, reload, set } = useAlert(id);
    useKeys({
        Escape: () => go(backHref()),
        j: () => go(alertHref(neighbour(id, 1) || id)),
        k: () => go(alertHref(neighbour(id, -1) || id)),
    });
    if (!alert) return <Absent what="alert" back={backHref()} error={error} onRetry={reload} />;
    const reasons = alert.metadata.explain ?? [];
    return (
        <article className="page detail">
            <Head alert={alert} />
            <div className="detail-main">
                <Panel title="Why">
                    {reasons.length > 0 ? (
                        <Why reasons={reasons} />
                    ) : (
                        <Empty title="No reasons were recorded">
                            <p>This alert was not made by a detector or model of Wind.</p>
                        </Empty>
                    )}
                </Panel>
                <Related alert={alert} />
            </div>
            <aside className="detail-side" aria-label="Triage and facts">
                <Triage
                    alert={alert}
                    onChange={(changed) => {
                        set(changed);
                        replaceAlert(changed);
                    }}
                />
                <EntitiesPanel entities={alert.related_entities} />
                <Facts alert={alert} />
                <CommunityIds alert={alert} />
            </aside>
        </article>
    );
}
