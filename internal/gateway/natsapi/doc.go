// Package natsapi is the NATS request door: a service at receipts.submit.<org>.<app> that takes the
// same bodies as POST events and answers the same.
//
// A request is cheap only if it shares what it costs with others. The requests of all clients that
// are there at one time become one group, which is submitted to the log at once and answered at
// once; while some groups wait for the disk the next one gathers.
//
//	connection ──► decode ──► group ──► log ──► answers   (the workers: a group each)
//	                 │                            │
//	                 └── refused, in words ───────┴── outcomes, for those who wait for them
package natsapi
