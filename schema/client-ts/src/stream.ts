import type { components } from "./api.gen.js";
import type { Outcome } from "./client.js";
import { ReceiptdError } from "./errors.js";
import type { Http } from "./http.js";
import { linesOf } from "./lines.js";
import type { Item, Queue } from "./queue.js";
import { Backoff, linked, sleep } from "./retry.js";

type Line = Partial<components["schemas"]["Error"]> & { accepted?: number; outcomes?: Outcome[] };

/** After how long without events an empty line is sent; a server ends streams that are quiet for two minutes. */
const quiet = 45_000;

/** The sender of a stream: connects while there are items, until the queue is closed. */
export async function runStream(q: Queue, http: Http, path: string, applied: boolean): Promise<void> {
  const backoff = new Backoff(http.retry);
  while (await q.some()) {
    const before = q.first;
    try {
      await new Connection(q, http, path, applied).run();
      backoff.reset();
    } catch (e) {
      if (q.over.signal.aborted) return;
      if (q.first > before) backoff.reset();
      await backoff.wait(e, q.over.signal).catch((last: unknown) => {
        if (q.over.signal.aborted) return;
        q.fail(last);
        backoff.reset();
      });
    }
  }
}

/** Sends and answers items on one connection. */
class Connection {
  private readonly ended: ReturnType<typeof linked>;
  private written = 0;
  private since = Date.now();

  constructor(
    private readonly q: Queue,
    private readonly http: Http,
    private readonly path: string,
    private readonly applied: boolean,
  ) {
    this.ended = linked(q.over.signal);
  }

  /** Returns when everything is answered and the queue closed, or an item was malformed. */
  async run(): Promise<void> {
    void this.watch();
    try {
      const r = await this.http.request(this.path + (this.applied ? "?wait=applied" : ""), {
        method: "POST", headers: { "Content-Type": "application/x-ndjson" }, signal: this.ended.signal, stream: () => this.body(),
      });
      await this.read(r);
    } catch (e) {
      throw this.ended.signal.aborted && !this.q.over.signal.aborted ? this.ended.signal.reason : e;
    } finally {
      this.ended.unlink();
      this.ended.abort();
    }
  }

  /** Ends the connection if an answer is awaited for too long. */
  private async watch(): Promise<void> {
    const limit = this.http.retry.attempt;
    while (!this.ended.signal.aborted) {
      await sleep(limit / 8, this.ended.signal);
      if (this.written > this.q.first && Date.now() - this.since > limit) this.ended.abort(new Error(`no answer for ${limit} ms`));
    }
  }

  /** The items as they come, until the queue is closed. One is made for each request: for a second one if the token was too old. */
  private body(): ReadableStream<Uint8Array> {
    const { q, ended } = this;
    const encoder = new TextEncoder();
    this.written = q.first;
    this.since = Date.now();
    return new ReadableStream<Uint8Array>(
      {
        pull: async (to) => {
          let last = Date.now();
          for (;;) {
            const list = q.list.slice(Math.max(this.written - q.first, 0));
            if (list.length > 0) {
              if (this.written <= q.first) this.since = Date.now();
              this.written = q.first + q.list.length;
              to.enqueue(encoder.encode(list.map((x) => x.line).join("")));
              return;
            }
            if (q.closed || ended.signal.aborted) {
              to.close();
              return;
            }
            if (Date.now() - last >= quiet) {
              last = Date.now();
              to.enqueue(encoder.encode("\n"));
              return;
            }
            await q.change(quiet, ended.signal);
          }
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Settles items as they are answered. */
  private async read(r: Response): Promise<void> {
    const { q } = this;
    let count = 0; // events of this connection whose items are settled
    let outcomes: Outcome[] = [];
    for await (const text of linesOf(r.body!)) {
      const line = JSON.parse(text) as Line;
      this.http.position.raise(line.positions);
      outcomes = outcomes.concat(line.outcomes ?? []);
      const upto = this.applied ? count + outcomes.length : (line.accepted ?? 0);
      for (let x = this.front(); x && count + x.width <= upto; x = this.front()) {
        count += x.width;
        q.settle(x, outcomes.splice(0, x.width));
        this.since = Date.now();
      }
      if (!line.error) continue;
      const e = new ReceiptdError(0, line);
      const x = this.front();
      if (!x || e.code !== "invalid_event" || e.index === undefined || e.index < count || e.index >= count + x.width) throw e;
      q.settle(x, [], e.at(e.index - count));
      return;
    }
    if (!q.closed || q.list.length > 0) throw new Error("the stream ended");
  }

  /** The first item that was written and is not answered. */
  private front(): Item | undefined {
    return this.written > this.q.first ? this.q.list[0] : undefined;
  }
}
