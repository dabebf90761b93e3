// Package admission decides which requests with events get in, when, and what they may hold
// meanwhile. It is one gate for all doors: whatever comes in asks the same [Gate], by whatever
// protocol it came.
//
// # The scheme
//
//	 header read      bytes arrive        all there            decoded      in the log's queue
//	──── Enter ───────── Hold ─────────── Turn ──────────────── Submit ─── Release ──► answer
//	     │               │                │
//	     │ refused at    │ refused when   │ waits, fairly by app and user; refused when the
//	     │ once when     │ the memory     │ context ends
//	     │ too much      │ is used up
//	     │ waits
//
// Enter looks at the queue, not at what a request says of itself. The queue is what has been read
// and waits for its turn, and is short: what drains in [Options.Queue], by the rate at which it
// does. While it is full, an app that has its share of it waiting is refused; one that has less
// gets in. A share is by weight among the apps that have something under way, so an app that is
// alone may fill the queue, and one that is quiet always finds room beside another's flood. What is
// being read counts as waiting as long as some of it has come a moment ago; a slow upload counts
// for nothing but the memory that it takes.
//
// Hold counts what has arrived. No app may hold more than half of the memory, and no address more
// than three quarters.
//
// What lasts, such as a stream of events, holds a [Room] for what it reads into, within the same
// bounds, and has each piece that has come enter on its own: it waits for its turn like a request,
// and while nothing comes it has nothing under way.
//
// A door that gathers the requests of an app to submit them together, such as that for NATS, has no
// pass for each: it tells what they come to ([Gate.Gather]), by the same rules.
//
// Turn is for decoding, which takes several times as much memory as what is decoded and is bounded
// by processors: those whose turn it is decode, and put what they have into the log's queue. That
// is where intake meets the log, which takes no more than it stores and no more than its folds
// follow (see [eventlog.Log.Folded]); while it has no room, turns wait, the queue fills, and Enter
// refuses.
//
// # Refusals
//
// A [Refusal] says when it pays to come again: when what was refused before it is through, too, at
// the measured rate. Refusing costs processor time as well, more so when whoever is refused comes
// back at once, whatever they were told. So refusals are paced ([Gate.Pace]): beyond some hundreds
// a second they are answered later.
//
// # Questions
//
// Questions to the state have a share of their own, so that many of one app do not keep those of
// another waiting ([Gate.Ask]). Health, metrics and the page pass no gate.
package admission
