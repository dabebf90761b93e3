// Package client is receiptd's HTTP API and its streams for Go programs. It needs nothing but the
// standard library, and its version is the API's.
//
// A [Client] is for one app. Its methods are the calls of schema/openapi.yaml by their operation
// ids, generated, and these, by hand:
//
//   - [Client.Send] stores events in one request, [Client.Apply] also waits for what was decided
//     about each.
//   - [Client.Batch] gathers events that come one by one and sends many in a request.
//   - [Client.Stream] sends each as it comes, on one connection that is opened again when
//     it breaks.
//   - [Client.Follow] is what happens to a user's messages, as it happens, and
//     [Client.FollowAlerts] the alerts of the app's rules.
//   - [Client.Import] takes the history of another system.
//
// # Nothing is counted twice
//
// An answer may be lost although its events are stored. Every event that is sent has an event id,
// its own or one that the client gives it, and whatever is sent again has the ids that it had
// before; so the server knows it and it has no effect. How long sending is repeated, [Retry] says.
// When that is over, an error says that it is not known whether the events are stored; sending them
// again by the program is safe only with event ids of its own.
//
// # Errors
//
// What the server refuses is an [*Error]: choose by its Code. An event that breaks a rule is not
// refused: it is stored and rejected, as its [Outcome] tells.
//
// # Reading what was written
//
// Where several servers share a log, the client sends the position of what it has seen with each
// question, and the answer has at least that, whichever server gives it. [Client.Position] and
// [Client.AtLeast] take it to another process.
package client

//go:generate sh -c "cd generate && go tool -modfile=../../../internal/lab/e2e/clients/go.mod oapi-codegen -config oapi-codegen.yaml -o ../api.gen.go ../../openapi.yaml"
