// Package presence finds the users who are connected with the SDK to other nodes, and tells
// these what concerns a user's connections there.
//
// Nothing of it is kept: whoever wants to know asks the nodes that are heard of, each of which
// looks at its own connections. So there is no register that could be out of date, and the users of
// a node that dies are connected no more as soon as it is not heard of. A server that is alone
// has none of this.
package presence
