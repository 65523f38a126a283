/* The frame of the page: who is signed in, where we are, whether the link to the collector lives. */
import { useEffect } from "react";
import { live, startLive, stopLive } from "./api/live";
import { session, signOut } from "./api/session";
import type { Sensor } from "./api/types";
import { plural } from "./lib/format";
import { useRoute, type Route } from "./lib/router";
import { useStore } from "./lib/store";
import { ago, useNow } from "./lib/time";
import { AlertPage } from "./pages/alert";
import { AlertsPage } from "./pages/alerts";
import { IncidentPage } from "./pages/incident";
import { IncidentsPage } from "./pages/incidents";
import { LoginPage } from "./pages/login";
import { overview, watchOverview } from "./state/overview";
import { WindMark } from "./ui/icons";
import { Empty } from "./ui/parts";

const LIVE_WORDS = {
    off: ["Offline", "Not connected"],
    connecting: ["Connecting", "Connecting to the collector"],
    live: ["Live", "New alerts appear by themselves"],
    waiting: ["Reconnecting", "The link to the collector is down; trying again"],
} as const;

function LiveLight() {
    const { state } = useStore(live);
    const [text, title] = LIVE_WORDS[state];
    return (
        <span className={`live live-${state}`} role="status" title={title}>
            <i aria-hidden="true" />
            {text}
        </span>
    );
}

const isOnline = (sensor: Sensor) => sensor.state === "online";

const SENSORS_SHOWN = 4;

function SensorStrip() {
    const { sensors } = useStore(overview);
    const now = useNow();
    if (!sensors) return null;
    if (sensors.length === 0)
        return (
            <span className="sensors muted" title="wind-sensor reports here once it has a key">
                No sensors yet
            </span>
        );
    const late = sensors.filter((sensor) => !isOnline(sensor));
    const shown = [...late, ...sensors.filter((sensor) => isOnline(sensor))];
    return (
        <ul className="sensors" aria-label="Sensors">
            {shown.slice(0, SENSORS_SHOWN).map((sensor) => {
                const online = isOnline(sensor);
                const seen = sensor.last_seen ? ago(sensor.last_seen, now) : "never";
                return (
                    <li key={sensor.name} title={`${sensor.name}: last heard ${seen}`}>
                        <i
                            className={online ? "dot is-online" : "dot is-late"}
                            aria-hidden="true"
                        />
                        <span className="sensor-name">{sensor.name}</span>
                        {!online && (
                            <span className="sensor-late">
                                {sensor.state ?? "late"}, {seen}
                            </span>
                        )}
                        {online && <span className="offscreen">online</span>}
                    </li>
                );
            })}
            {shown.length > SENSORS_SHOWN && (
                <li className="muted">and {shown.length - SENSORS_SHOWN} more</li>
            )}
        </ul>
    );
}

function NavLink(props: { href: string; text: string; isHere: boolean; badge?: number }) {
    return (
        <a href={props.href} aria-current={props.isHere ? "page" : undefined}>
            {props.text}
            {props.badge ? (
                <span className="nav-badge" title={plural(props.badge, "open one", "open ones")}>
                    {props.badge}
                </span>
            ) : null}
        </a>
    );
}

function Header({ route }: { route: Route }) {
    const { user } = useStore(session);
    const { totals } = useStore(overview);
    const isAlerts = route.page === "alerts" || route.page === "alert";
    const isIncidents = route.page === "incidents" || route.page === "incident";
    return (
        <header className="top">
            <a className="brand" href="#/alerts" aria-label="Wind, to the alerts">
                <WindMark /> <span>Wind</span>
            </a>
            <nav aria-label="Pages">
                <NavLink
                    href="#/alerts"
                    text="Alerts"
                    isHere={isAlerts}
                    badge={totals?.alerts.by_status.new ?? 0}
                />
                <NavLink
                    href="#/incidents"
                    text="Incidents"
                    isHere={isIncidents}
                    badge={totals?.incidents.by_status.open ?? 0}
                />
            </nav>
            <SensorStrip />
            <LiveLight />
            <div className="who">
                <span title={`Role: ${user?.role ?? ""}`}>
                    {user?.username} <span className="muted">{user?.role}</span>
                </span>
                <button type="button" className="button small" onClick={() => void signOut()}>
                    Sign out
                </button>
            </div>
        </header>
    );
}

function Body({ route }: { route: Route }) {
    switch (route.page) {
        case "alerts":
            return <AlertsPage q={route.query.get("q") ?? ""} />;
        case "alert":
            return <AlertPage key={route.id} id={route.id} />;
        case "incidents":
            return <IncidentsPage q={route.query.get("q") ?? ""} />;
        case "incident":
            return <IncidentPage key={route.id} id={route.id} />;
        case "unknown":
            return (
                <Empty title="There is no such page">
                    <a href="#/alerts">Go to the alerts</a>
                </Empty>
            );
    }
}

const TITLES = {
    alerts: "Alerts",
    alert: "Alert",
    incidents: "Incidents",
    incident: "Incident",
    unknown: "Not found",
};

function SignedIn() {
    const route = useRoute();
    const { totals } = useStore(overview);
    const fresh = totals?.alerts.by_status.new ?? 0;
    useEffect(() => {
        const stop = watchOverview();
        startLive();
        return () => {
            stopLive();
            stop();
        };
    }, []);
    useEffect(() => {
        const number = route.id ? ` ${route.id}` : "";
        document.title = `${fresh ? `(${fresh}) ` : ""}${TITLES[route.page]}${number} – Wind`;
    }, [route, fresh]);
    return (
        <>
            <a
                className="skip"
                href="#main"
                onClick={(event) => {
                    event.preventDefault();
                    document.getElementById("main")?.focus();
                }}
            >
                Skip to the content
            </a>
            <Header route={route} />
            <main id="main" tabIndex={-1}>
                <Body route={route} />
            </main>
        </>
    );
}

export function App() {
    const { phase, note } = useStore(session);
    if (phase === "starting")
        return (
            <main className="starting" role="status">
                {note || <span className="offscreen">Starting</span>}
            </main>
        );
    return phase === "in" ? <SignedIn /> : <LoginPage />;
}
