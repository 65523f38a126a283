/*
 * How the page is built: one small entry, the charts in a chunk of their own that loads after it,
 * nothing inlined (the collector's Content-Security-Policy allows neither inline script nor inline
 * style), and a budget that fails the build before the page becomes slow to load.
 */
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const KIB = 1024;
const BUDGET_GZIP = { entry: 100 * KIB, charts: 190 * KIB, styles: 12 * KIB };

function bundleBudget(): Plugin {
    const size = (content: string | Uint8Array) => gzipSync(content).length;
    return {
        name: "wind-bundle-budget",
        generateBundle(_options, bundle) {
            const used = { entry: 0, charts: 0, styles: 0 };
            for (const part of Object.values(bundle)) {
                if (part.type === "chunk")
                    used[part.isEntry ? "entry" : "charts"] += size(part.code);
                else if (part.fileName.endsWith(".css")) used.styles += size(part.source);
            }
            for (const kind of ["entry", "charts", "styles"] as const) {
                if (used[kind] > BUDGET_GZIP[kind])
                    this.error(
                        `${kind}: ${used[kind]} bytes gzipped, the budget is ${BUDGET_GZIP[kind]}`,
                    );
            }
        },
    };
}

export default defineConfig({
    base: "./",
    esbuild: { jsx: "automatic" },
    plugins: [bundleBudget()],
    build: {
        target: "es2022",
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        chunkSizeWarningLimit: 700,
    },
    server: { proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } } },
});
