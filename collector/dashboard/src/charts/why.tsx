/*
 * why.tsx - why an alert was raised, as a picture.
 *
 * Each reason is a row: its sentence, a bar for its part in the score, and a line on which the
 * value stands beside this host's own normal (the band is mean ± standard deviation). The rows
 * share the bars' scale; each line has its own, because units differ.
 */
import type { CSSProperties } from "react";
import type { Reason } from "../api/types";
import { measure, number, sentence, words } from "../lib/format";
import { scaleOf } from "./scale";

const percent = (share: number) => `${(share * 100).toFixed(2)}%`;

function Contribution({ reason, low, high, sum }: BarProps) {
    const span = high - low || 1;
    const zero = -low / span;
    const part = Math.abs(reason.contribution) / span;
    const isAgainst = reason.contribution < 0;
    const style: CSSProperties = {
        left: percent(isAgainst ? zero - part : zero),
        width: percent(part),
    };
    const share = sum > 0 ? Math.abs(reason.contribution) / sum : 0;
    const text = `${isAgainst ? "−" : ""}${Math.round(share * 100)} %`;
    return (
        <div
            className="why-bar"
            role="img"
            aria-label={`Contribution ${text}`}
            title={`Contribution ${number(reason.contribution)}`}
        >
            <span className="why-name mono">{words(reason.name)}</span>
            <div className="why-bar-track">
                <div className={`why-bar-fill ${isAgainst ? "is-against" : ""}`} style={style} />
            </div>
            <span className="why-bar-text">{text}</span>
        </div>
    );
}

interface BarProps {
    reason: Reason;
    low: number;
    high: number;
    sum: number;
}

const sideOf = (share: number) => (share > 0.82 ? "is-right" : share < 0.1 ? "is-left" : "");

function describe(reason: Reason): string {
    const value = reason.value === null ? "unknown" : measure(reason.value, reason.unit);
    if (reason.normal === null || reason.normal_n === 0)
        return `${words(reason.name)}: ${value}; this host has no history of it yet`;
    const normal = measure(reason.normal, reason.unit);
    const spread = measure(reason.normal_sd ?? 0, reason.unit);
    return `${words(reason.name)}: ${value}; normal for this host: ${normal} ± ${spread}, from ${reason.normal_n} observations`;
}

function normalText(reason: Reason): string {
    if (reason.normal === null || reason.normal_n === 0) return "No history of this host yet";
    const spread = reason.normal_sd ? ` ± ${measure(reason.normal_sd, reason.unit)}` : "";
    return `Normal ${measure(reason.normal, reason.unit)}${spread}, n = ${reason.normal_n}`;
}

function BesideNormal({ reason }: { reason: Reason }) {
    if (reason.value === null || !Number.isFinite(reason.value))
        return <p className="muted">No value.</p>;
    const scale = scaleOf(reason);
    const value = scale.at(reason.value);
    const mean = reason.normal_n > 0 ? reason.normal : null;
    const spread = reason.normal_sd ?? 0;
    const from = mean === null ? 0 : scale.at(mean - spread);
    const to = mean === null ? 0 : scale.at(mean + spread);
    const isOutside = mean !== null && Math.abs(reason.value - mean) > 2 * spread;
    return (
        <div className="range" role="img" aria-label={describe(reason)} title={describe(reason)}>
            <div className={`range-value ${sideOf(value)}`} style={{ left: percent(value) }}>
                {measure(reason.value, reason.unit)}
            </div>
            <div className="range-track">
                {scale.ticks.map((tick) => (
                    <i
                        key={tick}
                        className="range-tick"
                        style={{ left: percent(scale.at(tick)) }}
                    />
                ))}
                {mean !== null && (
                    <>
                        <i
                            className="range-band"
                            style={{ left: percent(from), width: percent(Math.max(to - from, 0)) }}
                        />
                        <i className="range-mean" style={{ left: percent(scale.at(mean)) }} />
                        <i
                            className="range-reach"
                            style={{
                                left: percent(Math.min(value, scale.at(mean))),
                                width: percent(Math.abs(value - scale.at(mean))),
                            }}
                        />
                    </>
                )}
                <i
                    className={`range-mark ${isOutside ? "is-outside" : ""}`}
                    style={{ left: percent(value) }}
                />
            </div>
            <div className="range-ticks" aria-hidden="true">
                {scale.ticks.map((tick) => (
                    <span
                        key={tick}
                        className={sideOf(scale.at(tick))}
                        style={{ left: percent(scale.at(tick)) }}
                    >
                        {measure(tick, reason.unit)}
                    </span>
                ))}
            </div>
            <div className="range-normal">
                {normalText(reason)}
                {scale.isLog && <span className="range-log">log scale</span>}
            </div>
        </div>
    );
}

export function Why({ reasons }: { reasons: Reason[] }) {
    const rows = [...reasons].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
    const low = Math.min(0, ...rows.map((row) => row.contribution));
    const high = Math.max(0, ...rows.map((row) => row.contribution));
    const sum = rows.reduce((total, row) => total + Math.abs(row.contribution), 0);
    return (
        <div className="why">
            <div className="why-head" aria-hidden="true">
                <span>Part in the score</span>
                <span className="why-legend">
                    Beside this host's normal
                    <i className="legend-band" /> mean ± sd
                    <i className="legend-mark" /> now
                </span>
            </div>
            <ol className="why-rows">
                {rows.map((reason) => (
                    <li key={reason.name} className="why-row">
                        <p className="why-text">{sentence(reason.text)}</p>
                        <Contribution reason={reason} low={low} high={high} sum={sum} />
                        <BesideNormal reason={reason} />
                    </li>
                ))}
            </ol>
        </div>
    );
}
