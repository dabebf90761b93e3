// A message to a group, and who has read it: against the server at API, with the admin key KEY.
import { Client, ReceiptdError, type Event } from "@receiptd/client";

declare const process: { env: Record<string, string | undefined> };
const { API, KEY } = process.env;

const receiptd = new Client({ url: API ?? "http://127.0.0.1:8080", app: "acme/first", token: KEY ?? "" });

// An app has group receipts off until they are turned on.
await receiptd.call("put", "/v1/apps/{org}/{app}", { body: { group_receipts: { enabled: true } } });

const events: Event[] = [
  { type: "group.created", group: "team", owner: "ann", members: ["ben", "cleo"] },
  { type: "message.sent", id: "m1", from: "ann", group: "team", receipt: true },
  { type: "message.read", message: "m1", user: "ben", group: "team" },
];
for (const { index, outcome, reason } of await receiptd.apply(events)) console.log(events[index]?.type, outcome, ...(reason ? [reason] : []));

// @ts-expect-error: a field that is misspelt does not compile
const misspelt: Event = { type: "message.read", message: "m1", user: "ben", gruop: "team" };

const path = { id: "m1" };
const message = await receiptd.call("get", "/v1/apps/{org}/{app}/messages/{id}", { path, query: { group: "team" } });
console.log(`read by ${message.read} of ${message.eligible}`);

// Events that come one by one go many in a request.
const batch = receiptd.batch({ applied: true });
const answered = batch.add({ type: "message.read", message: "m1", user: "cleo", group: "team" });
await batch.close();
console.log("cleo:", (await answered)[0]?.outcome);

// The author is told, with a token that the backend makes.
const { token } = await receiptd.call("post", "/v1/apps/{org}/{app}/users/{user}/tokens", { path: { user: "ann" }, body: { ttl: "1h" } });
const ann = new Client({ url: API ?? "http://127.0.0.1:8080", app: "acme/first", token, user: "ann" });
for await (const e of ann.follow("ann")) {
  if (e.event === "statistic") for (const x of e.data.group_ack) console.log(`${x.mid} was read by ${x.count}, last by ${x.last_reader}`);
  if (e.event === "read") console.log(`${e.data.message} was read by ${e.data.user}`);
  break;
}

// What is refused is an error with a code to choose by.
try {
  await ann.call("get", "/v1/apps/{org}/{app}");
} catch (e) {
  if (!(e instanceof ReceiptdError)) throw e;
  console.log(e.code);
}
