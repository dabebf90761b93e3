import type { components } from "./api.gen.js";
import { type Answer, type CallOptions, type Method, type PathOf, fill, queryOf } from "./call.js";
import { Final, ReceiptdError } from "./errors.js";
import { type AlertEvent, type StreamEvent, follow } from "./follow.js";
import { Http } from "./http.js";
import { type Item, Queue } from "./queue.js";
import type { Retry } from "./retry.js";
import { runStream } from "./stream.js";

type Schemas = components["schemas"];

/** Something that happened; `event_id` is made by the client if it is left out. */
export type Event = Schemas["Event"];
/** What a user reports of themselves: an Event in which `user` may be left out. */
export type Receipt = Schemas["Receipt"];
/** What was decided about an event. */
export type Outcome = Schemas["Outcome"];
/** That events are durable, and where. */
export type Accepted = Schemas["Accepted"];

/** How to reach an app. */
export interface Options {
  /** The server's address; http://127.0.0.1:8080 if left out. */
  url?: string;
  /** ORG/APP. */
  app: string;
  /**
   * The bearer: an admin key or a user token, or what returns one. That is called before the first
   * request, and again with the one it returned last when the server has refused it.
   */
  token: string | ((refused?: string) => string | Promise<string>);
  /** Whose token it is; left out for a backend with the admin key. Events are then receipts of this user. */
  user?: string;
  retry?: Retry;
  /** In place of the global one. */
  fetch?: typeof fetch;
}

/** How events are gathered. */
export interface BatchOptions {
  /** Promises wait for what was decided about their events, and tell it. */
  applied?: boolean;
  /** How many events a request has at most; 1000 if left out. */
  events?: number;
  /** How long the first event of a request waits for others, in milliseconds; 10 if left out. */
  delay?: number;
  /** Bounds the events that were handed over and are not answered; ten requests if left out. 16 MiB bound them too. */
  unanswered?: number;
}

/** What a stream bounds and asks for. */
export interface StreamOptions {
  /** Promises wait for what was decided about their events, and tell it. */
  applied?: boolean;
  /** Bounds the events that were handed over and are not answered; 10,000 if left out. 16 MiB bound them too. */
  unanswered?: number;
}

/** Takes events one by one: a batch or a stream. */
export interface Sender {
  /**
   * Hands an event over. The promise is fulfilled when the event is durable or, if outcomes were
   * asked for, decided; it is rejected if the event is refused, or with a FullError while too many
   * are not answered.
   */
  add(event: Event | Receipt): Promise<Outcome[]>;
  /** Waits until there is room for an event. */
  room(): Promise<void>;
  /** Has everything sent that was handed over, and waits until it is answered; throws the first error. */
  flush(): Promise<void>;
  /** The last flush. When the signal comes before, what is not answered then fails with a ClosedError. */
  close(signal?: AbortSignal): Promise<void>;
}

/** Bounds a request, beside the number of its events. */
const batchBytes = 4 << 20;

/** Makes the calls of one app. */
export class Client {
  private readonly http: Http;
  private readonly app: { org: string; app: string };
  private readonly user: string | undefined;
  /** Ids of events are name/number: least room in the log is taken by ids that differ in a number of constant width at their end. */
  private readonly name = [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, "0")).join("");
  private number = 0;

  constructor(options: Options) {
    const [org, app, more] = options.app.split("/");
    if (!org || !app || more !== undefined) throw new TypeError(`app "${options.app}" is not ORG/APP`);
    const retry = { first: 100, longest: 10_000, for: 120_000, attempt: 35_000, ...options.retry };
    const url = (options.url ?? "http://127.0.0.1:8080").replace(/\/$/, "");
    // In browsers it may be a path, of the page's own server.
    if (url !== "" && !/^(https?:\/\/[^/]|\/)/i.test(url)) throw new TypeError(`url "${url}" is none of a server, like http://127.0.0.1:8080`);
    this.http = new Http(url, options.token, options.fetch ?? ((...args) => fetch(...args)), retry);
    this.app = { org, app };
    this.user = options.user;
  }

  /** Makes a call of the API by its method and path, as in `call("get", "/v1/apps/{org}/{app}/messages/{id}", { path: { id } })`. */
  async call<M extends Method, P extends PathOf<M>>(
    method: M,
    path: P,
    ...[options]: Record<never, never> extends CallOptions<M, P> ? [CallOptions<M, P>?] : [CallOptions<M, P>]
  ): Promise<Answer<M, P>> {
    const o = (options ?? {}) as { path?: Record<string, unknown>; query?: Record<string, unknown>; body?: unknown; signal?: AbortSignal };
    const address = fill(path, { ...this.app, ...o.path }) + queryOf(o.query);
    const body = o.body === undefined ? {} : { body: JSON.stringify(o.body), headers: { "Content-Type": "application/json" } };
    return this.http.repeat(async (signal) => {
      try {
        const r = await this.http.request(address, { method: method.toUpperCase(), ...body, signal, asks: true });
        return (await this.http.read(r)) as Answer<M, P>;
      } catch (e) {
        // Repeated is what only asks or sets, or what the server says it has not done.
        const undone = e instanceof ReceiptdError && (e.status === 429 || e.status === 503);
        throw method === "post" && !undone ? new Final(e) : e;
      }
    }, o.signal);
  }

  /** Stores events, in their order and with one request. An error with an `index` says which is malformed: then none is stored. */
  async send(events: readonly (Event | Receipt)[], signal?: AbortSignal): Promise<Accepted> {
    if (events.length === 0) return { accepted: 0 };
    return this.post(events.map((e) => this.encode(e).line).join(""), false, signal);
  }

  /** Stores events and waits for what the rules make of them: one outcome for each, of one with `messages` one for each of those. */
  async apply(events: readonly (Event | Receipt)[], signal?: AbortSignal): Promise<Outcome[]> {
    if (events.length === 0) return [];
    return (await this.post(events.map((e) => this.encode(e).line).join(""), true, signal)).outcomes ?? [];
  }

  /**
   * Is `apply` for history of another system: each event has the `time` at which it happened, is decided by that, and nobody is
   * told of it. Of a conversation, send what happened earlier first. It needs the admin key.
   */
  async importEvents(events: readonly (Event & { time: string | number })[], signal?: AbortSignal): Promise<Outcome[]> {
    if (events.length === 0) return [];
    const lines = events.map((e) => this.encode(e).line).join("");
    return (await this.post(lines, true, signal, "/v1/apps/{org}/{app}/import")).outcomes ?? [];
  }

  /** Gathers events and sends many in a request, one request after the other, so that they keep their order. Close it at the end. */
  batch(o: BatchOptions = {}): Sender {
    const events = o.events ?? 1000;
    return new Queue((e) => this.encode(e), o.unanswered ?? 10 * events, async (q) => {
      while (await q.some()) await this.sendItems(q, await take(q, events, o.delay ?? 10), o.applied ?? false);
    });
  }

  /**
   * Sends each event as it comes, on a connection that is opened with the first event and again
   * whenever it breaks; what is not answered then is sent again, in its order. Close it at the end.
   *
   * It needs a fetch that reads and writes one body at the same time, as that of Node does. Those of
   * browsers do not: use `batch` there. Users have no streams either.
   */
  stream(o: StreamOptions = {}): Sender {
    if (!(globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node) {
      throw new Error("the fetch of browsers cannot send and receive at the same time: use batch()");
    }
    return new Queue((e) => this.encode(e), o.unanswered ?? 10_000, (q) =>
      runStream(q, this.http, fill("/v1/apps/{org}/{app}/events:stream", this.app), o.applied ?? false),
    );
  }

  /**
   * Yields what happens to a user's messages until the signal comes, or until there is an error
   * that repeating does not mend, which is thrown. When the connection breaks it is opened again, with
   * the id of the last event that the loop has finished with: that acknowledges it and all before;
   * what is left comes as a `statistic`, so nothing is lost and some may come twice. `last` is such an
   * id of before.
   */
  follow(user: string, o: { last?: string; signal?: AbortSignal } = {}): AsyncGenerator<StreamEvent> {
    return follow(this.http, fill("/v1/apps/{org}/{app}/users/{user}/stream", { ...this.app, user }), o.last, o.signal);
  }

  /**
   * Yields the alerts of the app's rules as `follow` yields what happens to messages: first those that the server keeps, or those
   * after `last`, and then each when it is decided. Some may come twice: `rule`, `subject` and `sent_from` tell. It needs the admin key.
   */
  followAlerts(o: { last?: string; signal?: AbortSignal } = {}): AsyncGenerator<AlertEvent> {
    return follow<AlertEvent>(this.http, fill("/v1/apps/{org}/{app}/alerts/stream", this.app), o.last, o.signal);
  }

  /** Up to where the client has seen the log, for atLeast; empty if the server tells no positions, being the only one on its log. */
  get position(): string {
    return this.http.position.text;
  }

  /** Has the answers from now on be those of a server that has seen the log up to a position of another client. */
  atLeast(position: string): void {
    if (!this.http.position.add(position)) throw new TypeError(`"${position}" is no position`);
  }

  private get door(): string {
    return this.user === undefined ? "/v1/apps/{org}/{app}/events" : "/v1/apps/{org}/{app}/users/{user}/receipts";
  }

  private encode(e: Event | Receipt): { line: string; width: number } {
    this.number++;
    const made: Record<string, unknown> = { ...e };
    made["event_id"] ??= `${this.name}/${String(this.number).padStart(8, "0")}`;
    if (this.user !== undefined) made["user"] ??= this.user;
    const width = e.type === "message.read" && e.messages ? Math.max(e.messages.length, 1) : 1;
    return { line: JSON.stringify(made) + "\n", width };
  }

  private async post(lines: string, applied: boolean, signal?: AbortSignal, path = this.door): Promise<Accepted> {
    const address = fill(path, { ...this.app, user: this.user }) + (applied ? "?wait=applied" : "");
    return this.http.repeat(async (bound) => {
      const r = await this.http.request(address, {
        method: "POST", body: lines, headers: { "Content-Type": "application/x-ndjson" }, signal: bound,
      });
      return (await this.http.read(r)) as Accepted;
    }, signal);
  }

  /** Sends items until each is answered. One that is malformed fails alone. */
  private async sendItems(q: Queue, list: Item[], applied: boolean): Promise<void> {
    while (list.length > 0) {
      try {
        const a = await this.post(list.map((x) => x.line).join(""), applied, q.over.signal);
        const outcomes = a.outcomes ?? [];
        for (const x of list) q.settle(x, outcomes.splice(0, x.width));
        return;
      } catch (e) {
        if (q.over.signal.aborted) return; // close answers
        const bad = e instanceof ReceiptdError && e.status === 400 && e.index !== undefined ? list[e.index] : undefined;
        if (bad) {
          q.settle(bad, [], (e as ReceiptdError).at(0));
          list = list.filter((x) => x !== bad);
        } else if (e instanceof ReceiptdError && e.status === 413 && list.length > 1) {
          await this.sendItems(q, list.slice(0, list.length >> 1), applied);
          list = list.slice(list.length >> 1);
        } else {
          for (const x of list) q.settle(x, [], e);
          return;
        }
      }
    }
  }
}

/** Waits for the events of a request. */
async function take(q: Queue, most: number, delay: number): Promise<Item[]> {
  const until = Date.now() + delay;
  for (;;) {
    let n = 0;
    let events = 0;
    let bytes = 0;
    let full = false;
    for (const x of q.list) {
      full = n > 0 && (events + x.width > most || bytes + x.bytes > batchBytes);
      if (full) break;
      n++;
      events += x.width;
      bytes += x.bytes;
    }
    const left = until - Date.now();
    if (full || events >= most || left <= 0 || q.closed || q.hurried > q.first || q.over.signal.aborted) return q.list.slice(0, n);
    await q.change(left);
  }
}
