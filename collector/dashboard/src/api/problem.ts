/* What went wrong with a request, as a sentence that can be shown. */
import type { Problem } from "./types";

export class ApiError extends Error {
    readonly status: number; /* 0: no answer at all */
    readonly code: string;
    readonly retryAfterS: number;

    constructor(status: number, code: string, message: string, retryAfterS = 0) {
        super(message);
        this.status = status;
        this.code = code;
        this.retryAfterS = retryAfterS;
    }
}

function sentence(status: number, problem: Problem, retryAfterS: number): string {
    if (status === 429) return `Too many requests. Try again in ${retryAfterS || 10} seconds.`;
    const fields = (problem.errors ?? []).map((one) => `${one.loc.at(-1) ?? ""}: ${one.msg}`);
    const detail = problem.detail ?? problem.title;
    if (fields.length) return [detail, fields.join("; ")].filter(Boolean).join(" – ");
    if (detail) return detail;
    if (status >= 500) return "The collector could not do that. Its log says why.";
    return `The collector answered ${status}.`;
}

export async function problemOf(response: Response): Promise<ApiError> {
    const retryAfterS = Number(response.headers.get("Retry-After") ?? 0) || 0;
    const problem = (await response.json().catch(() => ({}))) as Problem;
    const message = sentence(response.status, problem, retryAfterS);
    return new ApiError(response.status, problem.code ?? "", message, retryAfterS);
}

export const noAnswer = (): ApiError =>
    new ApiError(0, "no_answer", "The collector does not answer. Is wind-collector running?");

export function messageOf(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}
