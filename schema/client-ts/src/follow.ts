import type { components } from "./api.gen.js";
import type { Http } from "./http.js";
import { linesOf } from "./lines.js";
import { Backoff, linked } from "./retry.js";

type Known = Exclude<components["schemas"]["StreamEvent"], { event: "closing" }>;

/**
 * Something that happened to a user's messages. Its `id` stands for all that came up to here, and
 * not every event has one; whoever keeps it may begin with it later. After a `resync` receipts were
 * given up, or the log is another one: a `statistic` follows, if there is anything in it; what the
 * user did themselves is in none, so ask for their conversations again.
 */
export type StreamEvent = Known;

/** An alert of the app's rules; or `resync`, after which those that are kept come from the beginning. */
export type AlertEvent = Exclude<components["schemas"]["AlertStreamEvent"], { event: "closing" }>;

/** After how long without a byte a connection is given up, in milliseconds. The server sends a comment every 15 seconds. */
const quiet = 50_000;

/** Yields events of the stream at path, over as many connections as it takes. */
export async function* follow<E = StreamEvent>(http: Http, path: string, last: string | undefined, signal: AbortSignal | undefined): AsyncGenerator<E> {
  const backoff = new Backoff({ ...http.retry, for: Infinity });
  let id = last;
  for (;;) {
    const bound = linked(signal);
    let timer = setTimeout(() => bound.abort(), quiet);
    const came = () => {
      clearTimeout(timer);
      timer = setTimeout(() => bound.abort(), quiet);
    };
    let error: unknown = new Error("the stream ended");
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (id) headers["Last-Event-ID"] = id;
      const r = await http.request(path, { headers, signal: bound.signal });
      for await (const e of eventsOf(linesOf(r.body!, came))) {
        if (e.event === "closing") break;
        if (e.event === "resync") id = undefined; // the summary that follows has an id of this log
        backoff.reset();
        clearTimeout(timer); // the loop may take its time
        yield e as E;
        came();
        if (e.id) id = e.id; // the loop has finished with it
      }
    } catch (e) {
      error = e;
    } finally {
      clearTimeout(timer);
      bound.unlink();
      bound.abort();
    }
    if (signal?.aborted) throw signal.reason;
    await backoff.wait(error, signal).catch((e: unknown) => {
      throw signal?.aborted ? signal.reason : e;
    });
  }
}

async function* eventsOf(lines: AsyncIterable<string>): AsyncGenerator<{ event: string; id?: string; data: unknown }> {
  let event = "";
  let id = "";
  let data = "";
  for await (const line of lines) {
    const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") event = value;
    else if (field === "id") id = value;
    else if (field === "data") data += value;
    else if (line === "" && event) {
      yield { event, ...(id && { id }), data: JSON.parse(data || "{}") };
      event = id = data = "";
    }
  }
}
