/*
 * The search line's grammar, as far as clicking needs it: chips and the chart add and remove
 * key:value words and leave everything else as it was typed. The collector understands all of it:
 * words are joined by AND, values behind one key (a,b) by OR, a leading minus negates.
 */

function words(q: string): string[] {
    return q.match(/-?[a-z_]+:"[^"]*"|"[^"]*"|\S+/gi) ?? [];
}

/* A value with blanks or commas needs quotes to stay one. */
function quoted(value: string): string {
    return /[\s",]/.test(value) ? `"${value.replaceAll('"', "")}"` : value;
}

const isOf = (word: string, key: string) => word.toLowerCase().startsWith(`${key}:`);

/* The values that are asked for behind a key: severity:high,critical gives two. */
export function valuesOf(q: string, key: string): string[] {
    const found = words(q).filter((word) => isOf(word, key));
    return found.flatMap((word) => {
        const value = word.slice(key.length + 1);
        return value.startsWith('"') ? [value.slice(1, -1)] : value.split(",").filter(Boolean);
    });
}

/* Switch one value of a key on or off. */
export function toggleValue(q: string, key: string, value: string): string {
    const now = valuesOf(q, key);
    const next = now.includes(value) ? now.filter((one) => one !== value) : [...now, value];
    const rest = words(q).filter((word) => !isOf(word, key));
    return [...rest, ...(next.length ? [`${key}:${next.map(quoted).join(",")}`] : [])].join(" ");
}

/* Only this value, or none when it was the only one. */
export function pickValue(q: string, key: string, value: string): string {
    const rest = words(q).filter((word) => !isOf(word, key));
    const isOn = valuesOf(q, key).includes(value);
    return [...rest, ...(isOn ? [] : [`${key}:${quoted(value)}`])].join(" ");
}

export interface Range {
    from: string;
    to: string;
}

/* time:>=A time:<B, as the chart writes it; null when the search names no such span. */
export function rangeOf(q: string): Range | null {
    const times = valuesOf(q, "time");
    const from = times.find((time) => time.startsWith(">="))?.slice(2);
    const to = times.find((time) => /^<[^=]/.test(time))?.slice(1);
    return from && to ? { from, to } : null;
}

export function withRange(q: string, range: Range | null): string {
    const rest = words(q).filter((word) => !isOf(word, "time"));
    return [...rest, ...(range ? [`time:>=${range.from}`, `time:<${range.to}`] : [])].join(" ");
}

/* Key and value that find an entity's alerts. */
export function entityKey(entity: { kind: string; role?: string | null }): string {
    if (entity.kind !== "host") return "entity";
    return entity.role === "attacker" || entity.role === "victim" ? entity.role : "host";
}

export const entityTerm = (entity: { kind: string; value: string; role?: string | null }): string =>
    `${entityKey(entity)}:${quoted(entity.value)}`;
