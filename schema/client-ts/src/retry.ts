import { Final, ReceiptdError } from "./errors.js";

/**
 * How requests are repeated that were not answered, or with a wish to come back. The wait doubles
 * each time, is drawn at random from its upper half, and is never shorter than the answer's
 * Retry-After. All times are in milliseconds.
 */
export interface Retry {
  /** The wait before the first repetition; 100 if left out. */
  first?: number;
  /** Bounds the waits; 10,000 if left out. */
  longest?: number;
  /**
   * How long a request, or an event, is tried after it failed first: no repetition begins later.
   * Two minutes if left out, 0 = nothing is repeated.
   */
  for?: number;
  /** Bounds one try of a request; 35,000 if left out, more than a server takes. */
  attempt?: number;
}

/** The waits between tries. */
export class Backoff {
  private next: number;
  private failed: number | undefined;

  constructor(private readonly retry: Required<Retry>) {
    this.next = retry.first;
  }

  /** Waits until it is time to try again after an error, or throws what to give up with. */
  async wait(error: unknown, signal?: AbortSignal): Promise<void> {
    if (error instanceof Final) throw error.reason;
    if (signal?.aborted || (error instanceof ReceiptdError && !error.temporary)) throw error;
    const now = Date.now();
    if (this.failed === undefined) {
      this.failed = now;
      this.next = this.retry.first;
    }
    let pause = this.next / 2 + (Math.random() * this.next) / 2;
    this.next = Math.min(2 * this.next, this.retry.longest);
    if (error instanceof ReceiptdError) pause = Math.max(pause, error.retryAfter);
    if (now + pause - this.failed > this.retry.for) throw error;
    await sleep(pause, signal);
    if (signal?.aborted) throw error;
  }

  /** For when something has succeeded. */
  reset(): void {
    this.failed = undefined;
  }
}

/** Waits, no longer than until the signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}

/** A signal that follows others, and can be given by itself. */
export function linked(...signals: (AbortSignal | undefined)[]): AbortController & { unlink(): void } {
  const c = new AbortController() as AbortController & { unlink(): void };
  const abort = (event: Event) => c.abort((event.target as AbortSignal).reason);
  for (const s of signals) {
    s?.addEventListener("abort", abort);
    if (s?.aborted) c.abort(s.reason);
  }
  c.unlink = () => signals.forEach((s) => s?.removeEventListener("abort", abort));
  return c;
}
