// Uses the types that openapi-typescript makes, with openapi-fetch: TestGeneratedClients generates
// them, compiles this and runs it.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";
import { check, environment } from "./environment.js";

type Event = components["schemas"]["Event"];
type StreamEvent = components["schemas"]["StreamEvent"];

const { API, KEY } = environment;
const client = createClient<paths>({ baseUrl: API, headers: { Authorization: `Bearer ${KEY}` } });
const path = { org: "made", app: "openapi-typescript" };

const app = await client.PUT("/v1/apps/{org}/{app}", { params: { path }, body: { group_receipts: { enabled: true } } });
check(app.data?.group_receipts.enabled === true, app);

const events: Event[] = [
  { type: "group.created", group: "g1", owner: "ann", members: ["ben"] },
  { type: "message.sent", id: "m1", from: "ann", group: "g1", receipt: true },
  { type: "message.read", message: "m1", user: "ben", group: "g1" },
];
// @ts-expect-error: a field that is misspelt does not compile
const misspelt: Event = { type: "message.read", message: "m1", user: "ben", gruop: "g1" };
// @ts-expect-error: nor does a field of another type
const other: Event = { type: "message.recalled", id: "m1", user: "ben", group: "g1" };

const done = await client.POST("/v1/apps/{org}/{app}/events", { params: { path, query: { wait: "applied" } }, body: events });
check(done.data?.outcomes?.every((o) => o.outcome === "applied"), done);

const summary = await client.GET("/v1/apps/{org}/{app}/users/{user}/statistics", { params: { path: { ...path, user: "ann" } } });
check(summary.data?.group_ack[0]?.count === 1, summary);

// An event of a stream, as it would be put together from its lines.
const event: StreamEvent = { event: "read", data: { message: "m1", user: "ben", read_at: "2026-03-01T12:00:00.000Z", count: 1, eligible: 1 } };
check(event.event === "read" && event.data.count === 1, event);

const missing = await client.GET("/v1/apps/{org}/{app}", { params: { path: { org: "made", app: "nothing" } } });
check(missing.error?.error.code === "app_not_found", missing);
