// Package natsapi is the NATS request door: a service at receipts.submit.<org>.<app> that takes the
// same bodies as POST events and answers the same.
//
// A request is cheap only if it shares what it costs with others. The requests of all clients of an
// app that are there at one time become one group, which is submitted to the log at once and
// answered at once; while some groups wait for the disk the next one gathers. Apps share no group,
// so that what one of them waits for, when it has too much, keeps no other waiting; and an app
// whose producers have an account of their own has a connection to itself.
//
//	connection ──► gate ──► decode ──► group of the app ──► log ──► answers
//	                │          │                             │
//	                └──────────┴── refused, in words ────────┴── outcomes, for those who wait for them
package natsapi
