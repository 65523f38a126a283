/* An incident's alerts in time: one lane a detector, one dot an alert, a bigger dot for more. */
import type { EChartsType } from "echarts/core";
import { useCallback, useMemo } from "react";
import type { Alert } from "../api/types";
import { plural, words } from "../lib/format";
import { alertHref, go } from "../lib/router";
import { local, localClock } from "../lib/time";
import { Chart, FONT, tooltipOf, type ChartOption, type Palette } from "./chart";

const LINE_MAX = 60;

const dotSize = (alert: Alert) =>
    Math.min(9 + 3 * Math.log10(Math.max(alert.metadata.count ?? 1, 1)), 22);

function shorten(text: string): string {
    return text.length > LINE_MAX ? `${text.slice(0, LINE_MAX)}…` : text;
}

function optionOf(alerts: Alert[], lanes: string[], palette: Palette): ChartOption {
    const axis = { color: palette.muted, fontSize: 11, fontFamily: FONT };
    const times = alerts.map((alert) => new Date(alert.detected_at).getTime());
    const first = Math.min(...times);
    const last = Math.max(...times);
    const margin = Math.max((last - first) * 0.03, 2000); /* dots stay clear of the names */
    return {
        animationDuration: 250,
        grid: { left: 4, right: 24, top: 8, bottom: 2, containLabel: true },
        xAxis: {
            type: "time",
            min: first - margin,
            max: last + margin,
            axisLine: { lineStyle: { color: palette.line } },
            axisTick: { show: false },
            axisLabel: {
                ...axis,
                hideOverlap: true,
                formatter: (t: number) => localClock(new Date(t)),
            },
            splitLine: { show: false },
            splitNumber: 5,
        },
        yAxis: {
            type: "category",
            data: lanes.map(words),
            inverse: true,
            axisLine: { show: false },
            axisTick: { show: false },
            axisLabel: { ...axis, color: palette.text },
            splitLine: { show: true, lineStyle: { color: palette.line } },
        },
        tooltip: {
            ...tooltipOf(palette),
            trigger: "item",
            formatter: (hovered) => {
                const first = Array.isArray(hovered) ? hovered[0] : hovered;
                const alert = alerts[first?.dataIndex ?? -1];
                if (!alert) return "";
                return `${local(alert.detected_at)}\n${alert.severity}: ${shorten(alert.description)}`;
            },
        },
        series: [
            {
                type: "scatter",
                cursor: "pointer",
                data: alerts.map((alert) => ({
                    value: [new Date(alert.detected_at).getTime(), lanes.indexOf(alert.type)],
                    symbolSize: dotSize(alert),
                    itemStyle: {
                        color: palette.severity[alert.severity],
                        borderColor: palette.panel,
                        borderWidth: 1.5,
                    },
                })),
            },
        ],
    };
}

export function Lanes({ alerts }: { alerts: Alert[] }) {
    const lanes = useMemo(() => [...new Set(alerts.map((alert) => alert.type))], [alerts]);
    const option = useCallback(
        (palette: Palette) => optionOf(alerts, lanes, palette),
        [alerts, lanes],
    );
    const ready = (chart: EChartsType) =>
        chart.on("click", (event) => {
            const alert = alerts[event.dataIndex];
            if (alert) go(alertHref(alert.id));
        });
    const label = `${plural(alerts.length, "alert")} by detector and time: ${lanes.map(words).join(", ")}`;
    return (
        <Chart
            key={alerts.length}
            className={`lanes lanes-${Math.min(lanes.length, 5)}`}
            label={label}
            option={option}
            onReady={ready}
        />
    );
}
