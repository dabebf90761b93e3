import type { components } from "./api.gen.js";

type Body = components["schemas"]["Error"];

/** The codes of errors: choose by them. */
export type Code = Body["error"]["code"];

/** What a server answers in place of what was asked for. */
export class ReceiptdError extends Error {
  override readonly name = "ReceiptdError";
  /** HTTP's status; 0 for the end of a stream, which tells none. */
  readonly status: number;
  /** What to choose by; undefined for the answer of a proxy that is none of receiptd's. */
  readonly code: Code | undefined;
  /** What is wrong in the request, if it is one thing. */
  readonly field: string | undefined;
  /**
   * The event that is wrong: its place in the list that was sent, or, of one event with several
   * messages, the message's.
   */
  readonly index: number | undefined;
  /** When it pays to come back, in milliseconds; 0 if the server does not say. */
  readonly retryAfter: number;
  /** How many events are durable although the request failed. */
  readonly accepted: number;
  /** The conversations that have a message with an ambiguous id. */
  readonly conversations: Body["error"]["conversations"];
  /** Finds the request in the server's log. */
  readonly requestID: string | undefined;

  constructor(status: number, body: Partial<Body>, retryAfter = 0, requestID?: string) {
    const e = body.error;
    super(e ? `${e.message} (${e.code})` : `status ${status}`);
    this.status = status;
    this.code = e?.code;
    this.field = e?.field;
    this.index = e?.index;
    this.conversations = e?.conversations;
    this.accepted = body.accepted ?? 0;
    this.retryAfter = retryAfter;
    this.requestID = requestID;
  }

  /** Whether the same request may succeed later. */
  get temporary(): boolean {
    if (this.status === 0) {
      return !["invalid_event", "invalid_request", "too_large", "forbidden", "unauthorized", "app_not_found"].includes(this.code ?? "");
    }
    return this.status === 429 || this.status === 408 || this.status >= 500;
  }

  /** The error of one event of those that were sent. */
  at(index: number): ReceiptdError {
    const error = { ...({ code: this.code, message: this.message } as Body["error"]), index };
    if (this.field !== undefined) error.field = this.field;
    const one = new ReceiptdError(this.status, { error }, this.retryAfter, this.requestID);
    one.message = this.message;
    return one;
  }
}

/** Reads a refusal. */
export async function refusalOf(r: Response): Promise<ReceiptdError> {
  let body: Partial<Body> = {};
  try {
    const told = JSON.parse(await r.text()) as Partial<Body>;
    if (told.error?.code) body = told;
  } catch {
    // None of receiptd's.
  }
  const after = r.headers.get("Retry-After") ?? "";
  const wait = /^\d+$/.test(after) ? Number(after) * 1000 : after ? Date.parse(after) - Date.now() : 0;
  return new ReceiptdError(r.status, body, Math.max(wait || 0, 0), r.headers.get("X-Request-Id") ?? undefined);
}

/** For events that are handed over after close, or that close did not wait for: those may be stored or not. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
}

/** For events that are handed over while too many are not answered: wait for `room()` first. */
export class FullError extends Error {
  override readonly name = "FullError";
}

/** An error after which nothing is repeated. */
export class Final extends Error {
  readonly reason: unknown;
  constructor(reason: unknown) {
    super(String(reason));
    this.reason = reason;
  }
}
