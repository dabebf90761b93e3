import type { paths } from "./api.gen.js";

// The types of a call, taken from those that are generated.

/** The methods of calls. */
export type Method = "get" | "put" | "post" | "delete";
// What has no end, or is no text: the first three are stream(), follow() and followAlerts(); the
// others receiptctl's.
type NotByCall =
  | "/v1/apps/{org}/{app}/events:stream"
  | "/v1/apps/{org}/{app}/users/{user}/stream"
  | "/v1/apps/{org}/{app}/alerts/stream"
  | "/v1/admin/tail"
  | "/v1/admin/backup";
/** The paths that `call` takes with a method. */
export type PathOf<M extends Method> = {
  [P in Exclude<keyof paths, NotByCall>]: paths[P] extends { [m in M]: { responses: unknown } } ? P : never;
}[Exclude<keyof paths, NotByCall>];
type Operation<M extends Method, P extends keyof paths> = paths[P] extends { [m in M]: infer O } ? O : never;

type PathParameters<O> = O extends { parameters: { path: infer T } } ? Omit<T, "org" | "app"> : Record<never, never>;
type QueryParameters<O> = O extends { parameters: { query?: infer T } } ? T : never;
type BodyOf<O> = O extends { requestBody?: { content: infer C } } ? (C extends { "application/json": infer T } ? T : never) : never;

// Left out if there is nothing in it, optional if all of it is.
type Part<Name extends string, T> = [T] extends [never]
  ? unknown
  : keyof T extends never
    ? unknown
    : Record<never, never> extends T
      ? { [n in Name]?: T }
      : { [n in Name]: T };

/** What a call takes: org and app are the client's. */
export type CallOptions<M extends Method, P extends keyof paths> = Part<"path", PathParameters<Operation<M, P>>> &
  Part<"query", Exclude<QueryParameters<Operation<M, P>>, undefined>> &
  Part<"body", BodyOf<Operation<M, P>>> & { signal?: AbortSignal };

/** What a call answers: JSON of its type, or text. */
export type Answer<M extends Method, P extends keyof paths> =
  Operation<M, P> extends { responses: { 200: { content: infer C } } } ? (C extends { "application/json": infer T } ? T : string) : undefined;

/** Puts ids into a path. */
export function fill(path: string, ids: Record<string, unknown>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    if (ids[name] === undefined) throw new TypeError(`${name} is missing in ${path}`);
    const id = String(ids[name]);
    // Steps of a path to whoever reads addresses as the web does: fetch cannot ask for them.
    if (id === "." || id === "..") throw new RangeError(`the id "${id}" cannot be in a path: ask by POST messages:counts`);
    return encodeURIComponent(id);
  });
}

/** Makes a query of parameters, which is empty or begins with ?. */
export function queryOf(parameters: Record<string, unknown> = {}): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) q.append(name, String(one));
  }
  return q.size ? `?${q}` : "";
}
