/* The list of alerts, live: when, what, who, how bad; with the shape of it all above. */
import { useEffect, useLayoutEffect, useRef } from "react";
import { ALERT_STATUSES, SEVERITIES, type Alert, type Entity } from "../api/types";
import { Timeline } from "../charts/timeline";
import { count, plural, words } from "../lib/format";
import { useKeys } from "../lib/keys";
import { entityKey, pickValue, valuesOf, withRange } from "../lib/query";
import { alertHref, go, openRow, replaceQuery } from "../lib/router";
import { useStore } from "../lib/store";
import { local, span } from "../lib/time";
import {
    alertList,
    moreAlerts,
    neighbour,
    reloadAlerts,
    sawAllAlerts,
    selectAlert,
    showAlerts,
} from "../state/alert_list";
import { overview, readStats, showRange } from "../state/overview";
import { ClearSearch, Filters } from "../ui/filters";
import { ArrowIcon } from "../ui/icons";
import { Empty, Failure, Loading, Panel, SeverityBadge, StatusBadge, Time } from "../ui/parts";

const search = (q: string) => replaceQuery("/alerts", new URLSearchParams(q ? { q } : {}));

function byRole(entities: Entity[], role: string): Entity | undefined {
    return entities.find((entity) => entity.role === role);
}

function Parties({ alert }: { alert: Alert }) {
    const { related_entities: entities } = alert;
    const from = byRole(entities, "attacker") ?? entities[0];
    const to = byRole(entities, "victim") ?? entities.find((entity) => entity !== from);
    if (!from) return <span className="muted">–</span>;
    return (
        <>
            <span className="party">{from.value}</span>
            {to && (
                <>
                    <ArrowIcon />
                    <span className="party">{to.value}</span>
                </>
            )}
        </>
    );
}

function Row({ alert, isNew, isSelected }: { alert: Alert; isNew: boolean; isSelected: boolean }) {
    const link = useRef<HTMLAnchorElement>(null);
    useLayoutEffect(() => {
        if (isSelected) link.current?.focus({ preventScroll: false });
    }, [isSelected]);
    const times = alert.metadata.count ?? 1;
    return (
        <tr
            className={`row edge-${alert.severity} ${isNew ? "is-new" : ""} ${isSelected ? "is-selected" : ""}`}
            data-alert={alert.id}
            onClick={openRow(alertHref(alert.id))}
        >
            <td className="col-severity">
                <SeverityBadge severity={alert.severity} />
            </td>
            <td className="col-time">
                <Time at={alert.detected_at} />
            </td>
            <td className="col-what">
                <a ref={link} href={alertHref(alert.id)} onFocus={() => selectAlert(alert.id)}>
                    {alert.description}
                </a>
                {isNew && <span className="new-mark">just in</span>}
                {times > 1 && (
                    <span className="times" title={`${count(times)} times`}>
                        ×{count(times)}
                    </span>
                )}
            </td>
            <td className="col-type">{words(alert.type)}</td>
            <td className="col-parties">
                <Parties alert={alert} />
            </td>
            <td className="col-status">
                <StatusBadge status={alert.status} />
                {alert.assigned_to && <span className="assignee">{alert.assigned_to}</span>}
            </td>
        </tr>
    );
}

function Nothing({ q }: { q: string }) {
    const { sensors, stats } = useStore(overview);
    if (q)
        return (
            <Empty title="No alert matches">
                <ClearSearch onSearch={search} />
                <p>
                    Words narrow it down together:{" "}
                    <code>severity:high src:10.0.0.0/8 score:&gt;0.9</code>, and a minus takes away:{" "}
                    <code>-status:closed</code>.
                </p>
            </Empty>
        );
    if (sensors?.length === 0)
        return (
            <Empty title="No sensor has reported yet">
                <p>
                    Make a key with <code>wind-collector --create-key NAME --scope ingest</code>,
                    and give it to a sensor as <code>uplink.key_file</code>. Alerts appear here by
                    themselves.
                </p>
            </Empty>
        );
    return (
        <Empty title="All quiet">
            <p>
                {stats ? "Sensors are reporting and have found nothing." : "Nothing was found."} New
                alerts appear here by themselves.
            </p>
        </Empty>
    );
}

function List({ q }: { q: string }) {
    const { rows, cursor, loading, error, arrived, selected, notice } = useStore(alertList);
    const end = useRef<HTMLDivElement>(null);
    useEffect(() => {
        const element = end.current;
        if (!element) return;
        const seen = new IntersectionObserver(
            (entries) => entries.some((entry) => entry.isIntersecting) && void moreAlerts(),
            { rootMargin: "400px" },
        );
        seen.observe(element);
        return () => seen.disconnect();
    }, [cursor]);

    return (
        <section aria-label="Alerts" className="list">
            <p className="offscreen" aria-live="polite">
                {notice}
            </p>
            {error && <Failure message={error} onRetry={() => void reloadAlerts()} />}
            {rows.length > 0 && (
                <table className="alerts">
                    <thead>
                        <tr>
                            <th scope="col">Severity</th>
                            <th scope="col">Detected</th>
                            <th scope="col">What</th>
                            <th scope="col">Detector</th>
                            <th scope="col">Who</th>
                            <th scope="col">Status</th>
                        </tr>
                    </thead>
                    <tbody>
                        {rows.map((alert) => (
                            <Row
                                key={alert.id}
                                alert={alert}
                                isNew={arrived.has(alert.id)}
                                isSelected={selected === alert.id}
                            />
                        ))}
                    </tbody>
                </table>
            )}
            {rows.length === 0 && loading === "first" && <Loading rows={8} />}
            {rows.length === 0 && !loading && !error && <Nothing q={q} />}
            {cursor && (
                <div ref={end} className="more">
                    <button
                        type="button"
                        className="button small"
                        onClick={() => void moreAlerts()}
                    >
                        {loading === "more" ? "Loading…" : "Older alerts"}
                    </button>
                </div>
            )}
        </section>
    );
}

function TopEntities({ q }: { q: string }) {
    const { stats } = useStore(overview);
    const top = stats?.top_entities.slice(0, 7) ?? [];
    const most = Math.max(1, ...top.map((entity) => entity.alerts));
    if (stats && top.length === 0) return <p className="muted pad">Nobody yet.</p>;
    return (
        <ol className="top-entities">
            {top.map((entity) => {
                const key = entityKey(entity);
                return (
                    <li key={`${entity.kind} ${entity.value} ${entity.role}`}>
                        <button
                            type="button"
                            aria-pressed={valuesOf(q, key).includes(entity.value)}
                            onClick={() => search(pickValue(q, key, entity.value))}
                            title={`Show the alerts of ${entity.value}`}
                        >
                            <span className="mono top-value">{entity.value}</span>
                            <span className="muted top-role">{entity.role ?? entity.kind}</span>
                            <span className="top-count">{count(entity.alerts)}</span>
                            <span className="top-bar" aria-hidden="true">
                                <i
                                    className={`fill-${entity.max_severity}`}
                                    style={{ width: `${(100 * entity.alerts) / most}%` }}
                                />
                            </span>
                        </button>
                    </li>
                );
            })}
        </ol>
    );
}

function Shape({ q }: { q: string }) {
    const { stats, error, range } = useStore(overview);
    const first = range?.from ?? stats?.extent.first;
    const last = range?.to ?? stats?.extent.last;
    const hasAlerts = stats !== null && stats.timeline.buckets.length > 0;
    const extent = first && last ? `${local(first)} to ${local(last)} (${span(first, last)})` : "";
    return (
        <div className="shape">
            <Panel
                title="Alerts over time"
                aside={
                    <span className="panel-aside">
                        <span className="muted">{extent}</span>
                        {range && (
                            <button
                                type="button"
                                className="button small"
                                onClick={() => search(withRange(q, null))}
                            >
                                All of it
                            </button>
                        )}
                    </span>
                }
            >
                {error && !stats && <Failure message={error} onRetry={() => void readStats()} />}
                {hasAlerts && (
                    <Timeline stats={stats} onRange={(next) => search(withRange(q, next))} />
                )}
                {stats && !hasAlerts && (
                    <p className="muted pad">The chart begins with the first alert.</p>
                )}
                {!stats && !error && <div className="timeline" />}
            </Panel>
            <Panel title="Top entities">
                <TopEntities q={q} />
            </Panel>
        </div>
    );
}

export function AlertsPage({ q }: { q: string }) {
    const { rows, selected, arrived, cursor } = useStore(alertList);
    const { stats } = useStore(overview);
    useEffect(() => {
        showAlerts(q);
        showRange(q);
    }, [q]);

    const step = (by: 1 | -1) => (event: KeyboardEvent) => {
        event.preventDefault();
        selectAlert(selected ? neighbour(selected, by) : (rows[0]?.id ?? 0));
    };
    useKeys({
        j: step(1),
        k: step(-1),
        ArrowDown: step(1),
        ArrowUp: step(-1),
        Enter: (event) => {
            if (!selected || event.target instanceof HTMLButtonElement) return;
            event.preventDefault();
            go(alertHref(selected));
        },
        Escape: () => {
            sawAllAlerts();
            selectAlert(0);
            if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
        },
    });

    const types = Object.keys(stats?.alerts.by_type ?? {}).sort();
    const found = q ? rows.length : (stats?.alerts.total ?? rows.length);
    const totalText = `${plural(found, "alert")}${q && cursor ? " or more" : ""}`;
    return (
        <div className="page">
            <h1 className="offscreen">Alerts</h1>
            <Shape q={q} />
            <Filters
                what="alerts"
                placeholder="severity:high src:10.0.0.0/8 -status:closed score:>0.9 words"
                q={q}
                onSearch={search}
                total={
                    arrived.size > 0 ? (
                        <button type="button" className="link" onClick={sawAllAlerts}>
                            {count(arrived.size)} just in, mark as seen
                        </button>
                    ) : (
                        totalText
                    )
                }
                chips={[
                    {
                        label: "Severity",
                        field: "severity",
                        values: SEVERITIES,
                        counts: stats?.alerts.by_severity,
                    },
                    {
                        label: "Status",
                        field: "status",
                        values: ALERT_STATUSES,
                        counts: stats?.alerts.by_status,
                    },
                    {
                        label: "Detector",
                        field: "type",
                        values: types,
                        counts: stats?.alerts.by_type,
                        nameOf: words,
                    },
                ]}
            />
            <List q={q} />
            <p className="keys muted" aria-hidden="true">
                <kbd>j</kbd> <kbd>k</kbd> move <kbd>Enter</kbd> open <kbd>/</kbd> search{" "}
                <kbd>Esc</kbd> clear marks
            </p>
        </div>
    );
}
