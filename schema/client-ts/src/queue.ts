import { ClosedError, FullError, ReceiptdError } from "./errors.js";
import type { Outcome } from "./client.js";

/** An event that is not answered. */
export interface Item {
  line: string;
  bytes: number;
  /** How many events the server makes of it. */
  width: number;
  settled: boolean;
  resolve(outcomes: Outcome[]): void;
  reject(error: unknown): void;
  answered: Promise<Outcome[]>;
}

/** The memory of events that are not answered is bounded, beside their number. One may always be there. */
const unansweredBytes = 16 << 20;
/** The largest event that a server takes. */
const maxLine = 1 << 20;

/** The events that are not answered, in the order in which they came. */
export class Queue {
  readonly list: Item[] = [];
  /** How many have left the list before its first. */
  first = 0;
  closed = false;
  /** Items up to this, as first counts them, are not to wait for others. */
  hurried = 0;
  /** Aborted when close gives up. */
  readonly over = new AbortController();
  private events = 0;
  private bytes = 0;
  private readonly waiting = new Set<() => void>();
  private readonly done: Promise<void>;

  constructor(
    private readonly encode: (event: never) => { line: string; width: number },
    private readonly most: number,
    run: (q: Queue) => Promise<void>,
  ) {
    this.done = Promise.resolve().then(() => run(this));
  }

  get size(): number {
    return this.events;
  }

  private fits(width: number, bytes: number): boolean {
    return this.list.length === 0 || (this.events + width <= this.most && this.bytes + bytes <= unansweredBytes);
  }

  add(event: never): Promise<Outcome[]> {
    if (this.closed) return Promise.reject(new ClosedError("closed"));
    const { line, width } = this.encode(event);
    const bytes = new TextEncoder().encode(line).length;
    if (bytes > maxLine) {
      return Promise.reject(new ReceiptdError(413, { error: { code: "too_large", message: `an event of more than ${maxLine} bytes` } }));
    }
    if (!this.fits(width, bytes)) return Promise.reject(new FullError("too many events are not answered: wait for room()"));
    const item = { line, bytes, width, settled: false } as Item;
    item.answered = new Promise<Outcome[]>((resolve, reject) => Object.assign(item, { resolve, reject }));
    item.answered.catch(() => {}); // whoever does not look at it hears of it by flush and close
    this.list.push(item);
    this.events += width;
    this.bytes += bytes;
    this.changed();
    return item.answered;
  }

  async room(): Promise<void> {
    while (!this.closed && !this.fits(1, 1)) await this.change();
  }

  async flush(): Promise<void> {
    this.hurried = this.first + this.list.length;
    const all = this.list.map((x) => x.answered);
    this.changed();
    for (const one of await Promise.allSettled(all)) if (one.status === "rejected") throw one.reason;
  }

  async close(signal?: AbortSignal): Promise<void> {
    this.closed = true;
    const stop = () => this.over.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      const flushed = this.flush();
      flushed.catch(() => {});
      this.changed();
      await this.done;
      this.fail(new ClosedError("closed before the event was answered"));
      await flushed;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  settle(x: Item, outcomes: Outcome[], error?: unknown): void {
    if (x.settled) return;
    x.settled = true;
    if (error !== undefined) x.reject(error);
    else x.resolve(outcomes.map((o, index) => ({ ...o, index })));
    this.events -= x.width;
    this.bytes -= x.bytes;
    let n = 0;
    while (this.list[n]?.settled) n++;
    this.list.splice(0, n);
    this.first += n;
    this.changed();
  }

  fail(error: unknown): void {
    for (const x of [...this.list]) this.settle(x, [], error);
  }

  /** Resolves at the next change, or after some milliseconds. */
  change(ms?: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        this.waiting.delete(end);
        clearTimeout(timer);
        this.over.signal.removeEventListener("abort", end);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(end, ms);
      this.waiting.add(end);
      this.over.signal.addEventListener("abort", end);
      signal?.addEventListener("abort", end);
      if (this.over.signal.aborted || signal?.aborted) end();
    });
  }

  changed(): void {
    for (const end of [...this.waiting]) end();
  }

  /** Waits for an item, and reports whether there is one: not if the queue is closed and empty, or given up. */
  async some(): Promise<boolean> {
    while (!this.over.signal.aborted) {
      if (this.list.length > 0) return true;
      if (this.closed) return false;
      await this.change();
    }
    return false;
  }
}
