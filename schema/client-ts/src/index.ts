/**
 * receiptd's HTTP API and its streams, for Node and browsers. The types are those of
 * schema/openapi.yaml, and so is the version.
 *
 * An answer may be lost although its events are stored. Every event that is sent has an event id,
 * its own or one that the client gives it, and whatever is sent again has the id that it had before;
 * so the server knows it and it has no effect.
 */
export {
  Client, type Accepted, type BatchOptions, type Event, type Options, type Outcome, type Receipt, type Sender, type StreamOptions,
} from "./client.js";
export { ClosedError, FullError, ReceiptdError, type Code } from "./errors.js";
export type { Answer, CallOptions, Method, PathOf } from "./call.js";
export type { AlertEvent, StreamEvent } from "./follow.js";
export type { Retry } from "./retry.js";
export type { components, paths } from "./api.gen.js";
