/*
 * The search line's grammar, as far as the chips need it: they add and remove field:value words and
 * leave everything else as it was typed. The collector is the one that understands the whole of it.
 */

function words(q: string): string[] {
    return q.match(/-?[a-z_]+:"[^"]*"|"[^"]*"|\S+/gi) ?? [];
}

/* A value with blanks needs quotes to stay one word. */
export function term(field: string, value: string): string {
    return /[\s"]/.test(value) ? `${field}:"${value.replaceAll('"', "")}"` : `${field}:${value}`;
}

export function hasTerm(q: string, wanted: string): boolean {
    return words(q).some((word) => word.toLowerCase() === wanted.toLowerCase());
}

/* Switch a word on or off; a field takes one value at a time, because words are joined by AND. */
export function toggleTerm(q: string, field: string, value: string): string {
    const wanted = term(field, value);
    const isOn = hasTerm(q, wanted);
    const rest = words(q).filter((word) => {
        const bare = word.replace(/^-/, "").toLowerCase();
        return !bare.startsWith(`${field}:`);
    });
    return (isOn ? rest : [...rest, wanted]).join(" ");
}

/* The word that finds an entity's alerts. */
export function entityTerm(entity: { kind: string; value: string; role?: string | null }): string {
    if (entity.kind !== "host") return /\s/.test(entity.value) ? `"${entity.value}"` : entity.value;
    return entity.role === "victim" ? `dst:${entity.value}` : `src:${entity.value}`;
}
