/*
 * Where a value stands on a line that shows it beside the host's normal. The line is logarithmic
 * when the value is so far out that a linear one would press the normal into a point.
 */
import type { Reason } from "../api/types";

export interface Scale {
    isLog: boolean;
    at(value: number): number /* 0..1, clamped */;
    ticks: number[];
}

const LOG_FROM = 25;
const clamp = (share: number) => Math.min(Math.max(share, 0), 1);

function niceStep(span: number): number {
    const rough = span / 3;
    const power = 10 ** Math.floor(Math.log10(rough));
    const steps = [1, 2, 5, 10].map((n) => n * power);
    return steps.find((step) => step >= rough) ?? rough;
}

function linear(low: number, high: number): Scale {
    const span = high - low || 1;
    const step = niceStep(span);
    const ticks: number[] = [];
    for (let t = Math.ceil(low / step) * step; t <= high + step / 1e6; t += step)
        ticks.push(Number(t.toPrecision(12)));
    return { isLog: false, at: (v) => clamp((v - low) / span), ticks };
}

/* Logarithmic above `knee`, linear below it, so that zero has a place. */
function logarithmic(high: number, knee: number): Scale {
    const whole = Math.log1p(high / knee);
    const decades: number[] = [];
    for (let e = Math.ceil(Math.log10(knee * 2)); 10 ** e <= high; e++) decades.push(10 ** e);
    const every = Math.ceil(decades.length / 3);
    const ticks = [0, ...decades.filter((_, i) => (decades.length - 1 - i) % every === 0)];
    return { isLog: true, at: (v) => clamp(Math.log1p(Math.max(v, 0) / knee) / whole), ticks };
}

/* `value` must be finite; `normal` may be unknown. */
export function scaleOf(reason: Reason): Scale {
    const value = reason.value ?? 0;
    const known = reason.normal !== null && reason.normal_n > 0;
    const mean = known ? (reason.normal ?? 0) : value;
    const spread = known ? (reason.normal_sd ?? 0) : 0;
    const low = Math.min(0, value, mean - 2 * spread < 0 && mean < 0 ? mean - 2 * spread : 0);
    const high = Math.max(value, mean + 2 * spread, low + 1e-9);
    const usual = Math.max(mean + spread, 0);

    if (known && low >= 0 && usual > 0 && value / usual > LOG_FROM) {
        return logarithmic(high * 1.15, usual / 2);
    }
    if (known && low >= 0 && usual === 0 && value > LOG_FROM) return logarithmic(high * 1.15, 1);
    if (known && low >= 0 && value > 0 && usual / value > 200)
        return logarithmic(high * 1.05, value);
    return linear(low * 1.08, high > 0 ? high * 1.08 : 0);
}
