// Uses the client that @hey-api/openapi-ts makes: TestGeneratedClients generates it, compiles this
// and runs it.
import { createClient } from "./hey/client/index.js";
import { getApp, getStatistics, getStream, postEvents, putApp } from "./hey/sdk.gen.js";
import type { Event } from "./hey/types.gen.js";
import { check, environment } from "./environment.js";

const { API, KEY } = environment;
const client = createClient({ baseUrl: API, auth: KEY });
const path = { org: "made", app: "hey-api" };

const app = await putApp({ client, path, body: { group_receipts: { enabled: true } } });
check(app.data?.group_receipts.enabled === true, app);

const events: Event[] = [
  { type: "group.created", group: "g1", owner: "ann", members: ["ben"] },
  { type: "message.sent", id: "m1", from: "ann", group: "g1", receipt: true },
  { type: "message.read", message: "m1", user: "ben", group: "g1" },
];
// @ts-expect-error: a field that is misspelt does not compile
const misspelt: Event = { type: "message.read", message: "m1", user: "ben", gruop: "g1" };

const done = await postEvents({ client, path, query: { wait: "applied" }, headers: { "Content-Type": "application/json" }, body: events });
check(done.data?.outcomes?.every((o) => o.outcome === "applied"), done);

const summary = await getStatistics({ client, path: { ...path, user: "ann" } });
check(summary.data?.group_ack[0]?.count === 1, summary);

// The first event of a stream is the summary.
const { stream } = await getStream({ client, path: { ...path, user: "ann" } });
for await (const event of stream) {
  check("group_ack" in event, event);
  break;
}

const missing = await getApp({ client, path: { org: "made", app: "nothing" } });
check(missing.error?.error.code === "app_not_found", missing);
process.exit(0); // the stream's connection stays open
