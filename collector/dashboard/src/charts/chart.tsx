/*
 * chart.tsx - an ECharts canvas as a React element.
 *
 * Why      Size, colour scheme and disposal are the same for every chart.
 * Owns     The ECharts instance, from the element's first paint to its last.
 *
 * Tooltips are drawn on the canvas (renderMode richText): as HTML they would need inline styles,
 * which the Content-Security-Policy forbids, and would put alert texts into markup.
 */
import type { BarSeriesOption, ScatterSeriesOption } from "echarts/charts";
import type { GridComponentOption, TooltipComponentOption } from "echarts/components";
import type { ComposeOption, EChartsType } from "echarts/core";
import { useEffect, useRef, useState } from "react";
import type { Severity } from "../api/types";

export type ChartOption = ComposeOption<
    BarSeriesOption | ScatterSeriesOption | GridComponentOption | TooltipComponentOption
>;

export interface Palette {
    text: string;
    muted: string;
    line: string;
    panel: string;
    severity: Record<Severity, string>;
}

function readPalette(): Palette {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
    return {
        text: color("text"),
        muted: color("muted"),
        line: color("line"),
        panel: color("raised"),
        severity: {
            critical: color("critical-fill"),
            high: color("high-fill"),
            medium: color("medium-fill"),
            low: color("low-fill"),
        },
    };
}

const RETRY_MS = 2000;

export const FONT = "ui-sans-serif, system-ui, sans-serif";

export const tooltipOf = (palette: Palette): TooltipComponentOption => ({
    renderMode: "richText",
    confine: true,
    backgroundColor: palette.panel,
    borderColor: palette.line,
    borderWidth: 1,
    padding: [8, 10],
    textStyle: { color: palette.text, fontSize: 12, fontFamily: FONT, lineHeight: 18 },
});

interface Props {
    label: string /* what the chart says, for those who do not see it */;
    className: string;
    option: (palette: Palette) => ChartOption;
    onReady?: (chart: EChartsType) => void;
}

export function Chart({ label, className, option, onReady }: Props) {
    const holder = useRef<HTMLDivElement>(null);
    const [chart, setChart] = useState<EChartsType | null>(null);
    const [scheme, setScheme] = useState(0);
    const ready = useRef(onReady);
    ready.current = onReady;

    useEffect(() => {
        const element = holder.current;
        if (!element) return;
        let mine: EChartsType | null = null;
        let isGone = false;
        const resized = new ResizeObserver(() => mine?.resize());
        let timer = 0;
        const draw = ({ init }: typeof import("./echarts")) => {
            if (isGone) return;
            mine = init(element, null, { renderer: "canvas" });
            resized.observe(element);
            setChart(mine);
            ready.current?.(mine);
        };
        /* The collector may be away just now: the rest of the page waits for it too. */
        const load = () => {
            import("./echarts").then(draw, () => {
                if (!isGone) timer = window.setTimeout(load, RETRY_MS);
            });
        };
        load();
        return () => {
            isGone = true;
            clearTimeout(timer);
            resized.disconnect();
            mine?.dispose();
        };
    }, []);

    useEffect(() => {
        const dark = matchMedia("(prefers-color-scheme: dark)");
        const change = () => setScheme((n) => n + 1);
        dark.addEventListener("change", change);
        return () => dark.removeEventListener("change", change);
    }, []);

    useEffect(() => {
        chart?.setOption(option(readPalette()), { notMerge: false, lazyUpdate: true });
    }, [chart, option, scheme]);

    return <div className={className} role="img" aria-label={label} ref={holder} />;
}
