/*
 * A real wind-collector on a database of its own in a temporary folder, and what the tests need
 * to feed it: users, a sensor's key, alerts as a sensor sends them.
 */
import { spawn, execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const READY_MS = 15_000;
/* Settings and where their server is, when there is one (script/services run). */
const SERVERS = {
    "db.url": process.env.WIND_TEST_POSTGRES,
    "search.url": process.env.WIND_TEST_ELASTICSEARCH,
    "cache.url": process.env.WIND_TEST_REDIS,
};

async function freePort() {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    server.close();
    await once(server, "close");
    return port;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/* Try until it gives something that is true. */
export async function until(what, attempt, ms = 10_000) {
    const end = Date.now() + ms;
    for (;;) {
        const value = await attempt();
        if (value) return value;
        if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
        await sleep(50);
    }
}

export class Collector {
    constructor(bin) {
        this.program = path.join(bin, "wind-collector");
        this.log = "";
        this.password = "";
    }

    async begin() {
        this.dir = await mkdtemp(path.join(tmpdir(), "wind-page-"));
        this.port = await freePort();
        this.url = `http://127.0.0.1:${this.port}`;
        await this.start();
        this.password = /admin password: (\S+)/.exec(this.log)?.[1] ?? "";
        if (!this.password) throw new Error(`no first password in:\n${this.log}`);
        const args = [...this.settings(), "--create-key", "page-test", "--scope", "ingest"];
        const { stdout } = await run(this.program, args);
        this.key = /wind_\S+/.exec(stdout)?.[0] ?? "";
    }

    /* Logins are not what is tested: many of them, and cheap ones. */
    settings() {
        const values = {
            "api.listen": `127.0.0.1:${this.port}`,
            "db.path": path.join(this.dir, "wind.db"),
            "auth.hash_memory": "1mb",
            "auth.hash_passes": "1",
            "auth.login_rate": "1000",
            ...SERVERS,
        };
        const given = Object.entries(values).filter(([, value]) => value);
        return given.flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    }

    async start() {
        this.child = spawn(this.program, this.settings(), {
            cwd: this.dir,
            stdio: ["ignore", "pipe", "pipe"],
        });
        for (const stream of [this.child.stdout, this.child.stderr])
            stream.on("data", (bytes) => (this.log += bytes));
        this.ended = once(this.child, "exit");
        await until(
            "the collector is ready",
            async () => {
                if (this.child.exitCode !== null) throw new Error(`it ended:\n${this.log}`);
                return (await fetch(`${this.url}/readyz`).catch(() => null))?.ok;
            },
            READY_MS,
        );
    }

    async stop() {
        this.child?.kill("SIGTERM");
        await this.ended;
    }

    async end() {
        await this.stop();
        if (this.dir) await rm(this.dir, { recursive: true, force: true });
    }

    async send(method, where, { token, key, json, form, headers = {} } = {}) {
        const init = { method, headers: { ...headers } };
        if (token) init.headers.Authorization = `Bearer ${token}`;
        if (key) init.headers["X-API-Key"] = key;
        if (json) {
            init.headers["Content-Type"] = "application/json";
            init.body = JSON.stringify(json);
        }
        if (form) init.body = new URLSearchParams(form);
        const response = await fetch(this.url + where, init);
        const text = await response.text();
        return { response, body: text ? JSON.parse(text) : null };
    }

    /* As send, for what has to work. */
    async call(method, where, options) {
        const { response, body } = await this.send(method, where, options);
        if (!response.ok)
            throw new Error(`${method} ${where}: ${response.status} ${JSON.stringify(body)}`);
        return body;
    }

    async token(username = "admin", password = this.password) {
        const form = { grant_type: "password", username, password };
        return (await this.call("POST", "/api/auth/token", { form })).access_token;
    }

    async addUser(username, role) {
        const password = `pw-${randomBytes(12).toString("hex")}`;
        const json = { username, password, role };
        await this.call("POST", "/api/users/", { token: await this.token(), json });
        return { username, password };
    }

    async ingest(...alerts) {
        const json = { sensor: "edge-1", version: "0.1.0", alerts };
        const answer = await this.call("POST", "/api/ingest", { key: this.key, json });
        if (answer.rejected?.length) throw new Error(JSON.stringify(answer.rejected));
        return answer;
    }
}

function uuidV7() {
    const bytes = randomBytes(16);
    bytes.writeUIntBE(Date.now(), 0, 6);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    const hex = bytes.toString("hex");
    return [
        hex.slice(0, 8),
        hex.slice(8, 12),
        hex.slice(12, 16),
        hex.slice(16, 20),
        hex.slice(20),
    ].join("-");
}

export const REASONS = [
    {
        name: "distinct_ports",
        unit: "count",
        text: "1000 different ports in 12 s; this host's normal is 2",
        value: 1000,
        normal: 2.1,
        normal_sd: 0.4,
        normal_n: 37,
        contribution: 0.6,
    },
    {
        name: "failed_share",
        unit: "ratio",
        text: "98 of 100 calls were refused; this host's normal is 3",
        value: 0.98,
        normal: 0.03,
        normal_sd: 0.02,
        normal_n: 37,
        contribution: 0.3,
    },
    {
        name: "answer_time",
        unit: "ms",
        text: "Answers took 0.4 ms; this host was never seen before",
        value: 0.4,
        normal: null,
        normal_sd: null,
        normal_n: 0,
        contribution: 0.1,
    },
];

let seconds = 0;

/* An alert on the wire, as wind-sensor writes it; each is half a minute after the one before. */
export function makeAlert(changes = {}) {
    const {
        src = "10.9.0.66",
        dst = "10.9.0.5",
        severity = "high",
        detector = "port_scan",
    } = changes;
    const { signature = `${src} tried 1000 ports on ${dst}`, explain = REASONS } = changes;
    const { uid = uuidV7(), rev = 1, count = 1000 } = changes;
    const at = changes.at ?? new Date(Date.UTC(2026, 0, 5, 9, 0, (seconds += 30)));
    const eveTime = at.toISOString().replace("Z", "000+0000");
    return {
        timestamp: eveTime,
        flow_id: 12,
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        event_type: "alert",
        src_ip: src,
        src_port: 4242,
        dest_ip: dst,
        dest_port: 22,
        proto: "TCP",
        app_proto: "ssh",
        host: "edge-1",
        alert: {
            action: "allowed",
            gid: 1,
            signature_id: 9000001,
            rev: 1,
            signature,
            category: "Network scan",
            severity: { low: 4, medium: 3, high: 2, critical: 1 }[severity],
            metadata: { attack_technique: ["T1046"], severity: [severity] },
        },
        wind: {
            uid,
            rev,
            detector,
            severity,
            model: null,
            schema: null,
            score: 0.98,
            p_value: 0.0002,
            count,
            first_seen: at.toISOString(),
            last_seen: new Date(at.getTime() + 12_000).toISOString(),
            entities: [
                { kind: "host", value: src, role: "attacker" },
                { kind: "host", value: dst, role: "victim" },
            ],
            technique: { id: "T1046", name: "Network Service Discovery", tactic: "Discovery" },
            explain,
            community_ids: ["1:LQU9qZlK+B5F3KDmev6m5PMibrg="],
            analysis_level: "full",
            coverage: 1,
        },
    };
}
