// Package gateway is what the edges have in common: the HTTP API (httpapi), requests over NATS
// (natsapi), the protocol of the Easemob SDK (msync), its REST calls (easemob) and the page
// (internal/web). They import this package and never each other, and each finds here who calls,
// what that caller may do, how events reach the log and what was decided about them, and the JSON
// of a summary, which is the same for all clients.
//
// # Who may do what
//
// A caller is the admin, by the admin key, or a user of one app, by a token (see [Authenticator]).
// An edge decides nothing of its own about access; it asks the rule and has its own words for a
// refusal.
//
//	what                                     admin  user                          rule
//	an app, and everything in it             yes    the token's app               Caller.MayUse
//	what belongs to a user: their receipts,  yes    themselves                    Caller.MayActFor
//	conversations, summary, stream, list of
//	groups, invitations that wait for them
//	who is in a group                        yes    its members                   Caller.MaySeeMembers
//	what only a user can do: log in by       no     themselves                    Caller.Is
//	MSYNC, renew their sessions
//	counts and readers of a message          yes    its sender; if the app's      Caller.MaySee
//	                                                setting visibility says so,
//	                                                members of its group who were
//	                                                in it when it was sent
//	reads in a conversation, of what they    yes    unless the app's setting      Caller.SeesReads
//	may see                                         reciprocal_read_receipts is on
//	                                                and they hide their own
//	how far the members of a group have      yes    its members, if visibility    Caller.MaySeePositions
//	read                                            says so and they see reads
//	what needs a role in a group, such as    yes    whose role is high enough     Caller.MayActIn
//	its invitations
//	everything else: settings, events,       yes    no                            Caller.Admin
//	tokens, read rates, rejections, the
//	page's views of an app
//
// A message is found by [Caller.Find], which answers for one that the caller may not see as for one
// that is not there. The admin counts as the owner of every group. Whether somebody may send, read
// or recall a message is none of this: the fold decides it, in log order (docs/rules.md), and
// [VisibleOutcome] keeps from whoever is not in a group why it did.
package gateway
