/* Numbers and names as people read them. */

const grouped = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });

export const count = (n: number): string => grouped.format(n);

/* Whole numbers as they are, others with three significant digits. */
export function number(n: number): string {
    if (!Number.isFinite(n)) return "–";
    const size = Math.abs(n);
    if (Number.isInteger(n) && size < 1e6) return grouped.format(n);
    if (size < 0.001) return n.toExponential(1).replace("e-", "e−");
    if (size >= 1e4) return compact(n);
    return String(Number(n.toPrecision(3)));
}

function compact(n: number): string {
    return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(
        n,
    );
}

function duration(seconds: number): string {
    const size = Math.abs(seconds);
    if (size === 0) return "0 s";
    if (size < 1e-3) return `${number(seconds * 1e6)} µs`;
    if (size < 1) return `${number(seconds * 1e3)} ms`;
    if (size < 120) return `${number(seconds)} s`;
    if (size < 7200) return `${number(seconds / 60)} min`;
    if (size < 172800) return `${number(seconds / 3600)} h`;
    return `${number(seconds / 86400)} d`;
}

function bytes(n: number): string {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let size = n;
    let unit = 0;
    while (Math.abs(size) >= 1000 && unit < units.length - 1) {
        size /= 1000;
        unit++;
    }
    return `${number(size)} ${units[unit]}`;
}

/* A measured value with its unit, by the unit's name in features.def. */
export function measure(value: number, unit: string): string {
    switch (unit) {
        case "s":
        case "second":
        case "seconds":
            return duration(value);
        case "ms":
            return duration(value / 1e3);
        case "us":
            return duration(value / 1e6);
        case "ns":
            return duration(value / 1e9);
        case "byte":
        case "bytes":
            return bytes(value);
        case "per_s":
            return `${number(value)} /s`;
        case "percent":
            return `${number(value)} %`;
        case "":
        case "count":
        case "flag":
        case "score":
        case "none":
        case "ratio":
            return number(value);
        default:
            return `${number(value)} ${unit}`;
    }
}

/* distinct_ports -> distinct ports; never used on what an analyst typed. */
export const words = (name: string): string => name.replaceAll("_", " ");

export function title(name: string): string {
    return sentence(words(name));
}

/* The sensor's reasons can stand inside a sentence; here they begin one. */
export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export function plural(n: number, one: string, many = `${one}s`): string {
    return `${count(n)} ${n === 1 ? one : many}`;
}

export function pValue(p: number): string {
    if (p > 0 && p < 1e-4) return `1 in ${compact(1 / p)}`;
    return p < 0.001 ? p.toFixed(4) : number(p);
}
