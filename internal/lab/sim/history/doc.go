// Package history makes random logs for property tests with rapid: short ones in which every rule
// meets every other. [Logs] makes them; [split], [Repeat], [Resend] and [schedule] vary how the
// same events come.
//
// It is not part of package sim because rapid belongs in tests only: it registers flags.
package history
