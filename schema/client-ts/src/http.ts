import { Final, refusalOf } from "./errors.js";
import { Position } from "./position.js";
import { Backoff, linked, type Retry } from "./retry.js";

/** Makes requests with a token and a position, again where that is of use. */
export class Http {
  readonly position = new Position();
  private token: Promise<string> | undefined;

  constructor(
    private readonly url: string,
    private readonly source: string | ((refused?: string) => string | Promise<string>),
    private readonly doFetch: typeof fetch,
    readonly retry: Required<Retry>,
  ) {}

  /** The token in use; a new one if it is the one that was refused. */
  private async bearer(refused?: string): Promise<string> {
    const source = this.source;
    if (typeof source === "string") return source;
    const held = this.token;
    if (held === undefined || (refused !== undefined && (await held) === refused && this.token === held)) {
      this.token = Promise.resolve(source(refused));
      this.token.catch(() => (this.token = undefined));
    }
    return this.token!;
  }

  /**
   * Makes a request, a second time with another token or position if the server knows the first one
   * no longer. Throws a ReceiptdError if the server answers anything but success.
   */
  async request(path: string, init: RequestInit & { asks?: boolean; stream?: () => ReadableStream<Uint8Array> }): Promise<Response> {
    const { asks, stream, ...rest } = init;
    let refused: string | undefined;
    for (;;) {
      const token = await this.bearer(refused);
      const headers = new Headers(rest.headers);
      headers.set("Authorization", `Bearer ${token}`);
      if (asks && this.position.text) headers.set("Receiptd-Position", this.position.text);
      const body = stream ? { body: stream(), duplex: "half" } : {};
      const r = await this.doFetch(this.url + path, { ...rest, ...body, headers, cache: "no-store" });
      if (r.ok) {
        this.position.note(r.headers);
        return r;
      }
      const e = await refusalOf(r);
      if (r.status === 401 && token !== refused && typeof this.source !== "string") refused = token;
      else if (!(asks && e.code === "foreign_cursor" && e.field === "Receiptd-Position" && this.position.forget())) throw e;
    }
  }

  /** Tries until there is no error, one that will be there again, or no time. */
  async repeat<T>(attempt: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const backoff = new Backoff(this.retry);
    for (;;) {
      const bound = linked(signal);
      const timer = setTimeout(() => bound.abort(new Error(`no answer for ${this.retry.attempt} ms`)), this.retry.attempt);
      try {
        return await attempt(bound.signal);
      } catch (e) {
        await backoff.wait(e, signal);
      } finally {
        clearTimeout(timer);
        bound.unlink();
      }
    }
  }

  /** Reads an answer, JSON or text. */
  async read(r: Response): Promise<unknown> {
    const text = await r.text();
    if (!r.headers.get("Content-Type")?.startsWith("application/json")) return text;
    try {
      return JSON.parse(text);
    } catch (e) {
      throw new Final(e);
    }
  }
}
