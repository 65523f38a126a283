/* Alerts over event time, stacked by severity. Dragging over it narrows the time. */
import type { EChartsType } from "echarts/core";
import { useCallback, useRef, useState, type PointerEvent } from "react";
import { SEVERITIES, type Stats } from "../api/types";
import { count, plural } from "../lib/format";
import { localClock, localDay } from "../lib/time";
import { Chart, FONT, tooltipOf, type ChartOption, type Palette } from "./chart";

const STACK = [...SEVERITIES].reverse();

function bucketName(t: Date, bucketS: number): string {
    const to = new Date(t.getTime() + bucketS * 1000);
    if (bucketS >= 86400) return localDay(t);
    return `${localDay(t)}, ${localClock(t)} – ${localClock(to)}`;
}

function tickName(t: Date, bucketS: number, spanS: number): string {
    if (spanS > 3 * 86400 || bucketS >= 86400) return localDay(t);
    if (spanS > 86400) return `${localDay(t)} ${localClock(t).slice(0, 5)}`;
    return bucketS < 60 ? localClock(t) : localClock(t).slice(0, 5);
}

function optionOf(timeline: Stats["timeline"], palette: Palette): ChartOption {
    const times = timeline.buckets.map((bucket) => new Date(bucket.t));
    const bucketS = timeline.bucket_s;
    const spanS = bucketS * times.length;
    return {
        animationDuration: 250,
        animationDurationUpdate: 250,
        grid: { left: 14, right: 14, top: 10, bottom: 2, containLabel: true },
        xAxis: {
            type: "category",
            data: times.map((t) => tickName(t, bucketS, spanS)),
            axisTick: { show: false },
            axisLine: { lineStyle: { color: palette.line } },
            axisLabel: { color: palette.muted, fontSize: 11, fontFamily: FONT, hideOverlap: true },
        },
        yAxis: {
            type: "value",
            minInterval: 1,
            splitNumber: 3,
            splitLine: { lineStyle: { color: palette.line } },
            axisLabel: { color: palette.muted, fontSize: 11, fontFamily: FONT },
        },
        tooltip: {
            ...tooltipOf(palette),
            trigger: "axis",
            axisPointer: { type: "shadow", shadowStyle: { color: palette.line, opacity: 0.35 } },
            formatter: (hovered) => {
                const first = Array.isArray(hovered) ? hovered[0] : hovered;
                const at = first?.dataIndex ?? 0;
                const bucket = timeline.buckets[at];
                const time = times[at];
                if (!bucket || !time) return "";
                const lines = SEVERITIES.filter((s) => bucket[s] > 0).map(
                    (s) => `${count(bucket[s])} ${s}`,
                );
                return [bucketName(time, bucketS), ...(lines.length ? lines : ["no alerts"])].join(
                    "\n",
                );
            },
        },
        series: STACK.map((severity) => ({
            name: severity,
            type: "bar" as const,
            stack: "alerts",
            barCategoryGap: times.length > 60 ? "8%" : "22%",
            barMaxWidth: 28,
            itemStyle: { color: palette.severity[severity] },
            emphasis: { disabled: true },
            data: timeline.buckets.map((bucket) => bucket[severity] || null),
        })),
    };
}

/* As people would type it: no fraction when there is none. */
function instant(iso: string, laterS = 0): string {
    const t = new Date(new Date(iso).getTime() + laterS * 1000);
    return t.toISOString().replace(".000Z", "Z");
}

function labelOf(stats: Stats): string {
    const parts = SEVERITIES.map((s) => `${stats.alerts.by_severity[s] ?? 0} ${s}`);
    return `Alerts over time: ${plural(stats.alerts.total, "alert")} (${parts.join(", ")})`;
}

interface Props {
    stats: Stats;
    onRange: (range: { from: string; to: string }) => void;
}

export function Timeline({ stats, onRange }: Props) {
    const chart = useRef<EChartsType | null>(null);
    const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
    const { timeline } = stats;
    const option = useCallback((palette: Palette) => optionOf(timeline, palette), [timeline]);

    const xOf = (event: PointerEvent) =>
        event.clientX - event.currentTarget.getBoundingClientRect().left;
    const bucketAt = (x: number): number => {
        const at = Number(chart.current?.convertFromPixel({ xAxisIndex: 0 }, x) ?? 0);
        return Math.min(Math.max(at, 0), timeline.buckets.length - 1);
    };
    const finish = () => {
        setDrag(null);
        if (!drag || Math.abs(drag.to - drag.from) < 6 || timeline.bucket_s <= 1) return;
        const [first, last] = [drag.from, drag.to].sort((a, b) => a - b).map(bucketAt);
        const from = timeline.buckets[first ?? 0]?.t;
        const to = timeline.buckets[last ?? 0]?.t;
        if (from && to) onRange({ from: instant(from), to: instant(to, timeline.bucket_s) });
    };

    return (
        <div
            className="timeline-area"
            onPointerDown={(event) => {
                if (event.button !== 0 || event.pointerType === "touch") return;
                event.currentTarget.setPointerCapture(event.pointerId);
                setDrag({ from: xOf(event), to: xOf(event) });
            }}
            onPointerMove={(event) => drag && setDrag({ ...drag, to: xOf(event) })}
            onPointerUp={finish}
            onPointerCancel={() => setDrag(null)}
        >
            <Chart
                className="timeline"
                label={labelOf(stats)}
                option={option}
                onReady={(ready) => {
                    chart.current = ready;
                }}
            />
            {drag && Math.abs(drag.to - drag.from) >= 6 && (
                <div
                    className="timeline-drag"
                    style={{
                        left: Math.min(drag.from, drag.to),
                        width: Math.abs(drag.to - drag.from),
                    }}
                />
            )}
        </div>
    );
}
