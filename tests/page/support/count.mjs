/*
 * A reporter for node --test, which ends with 0 when it ran nothing: says how many tests passed, and
 * makes the run fail when there are none. A file without a test is told as one test, named as the file.
 */
export default async function* count(events) {
    let passed = 0;
    for await (const { type, data } of events) {
        if (type !== "test:pass" || data.skip !== undefined || data.todo !== undefined) continue;
        if (data.name.endsWith(".test.mjs")) {
            process.exitCode = 1;
            yield `no test ran in ${data.name}\n`;
        } else {
            passed++;
        }
    }
    if (passed === 0) process.exitCode = 1;
    yield passed === 0 ? "no test ran\n" : `${passed} page tests passed\n`;
}
