// Package notify passes on what the live fold did: a [Hub] tells the users who are connected, each
// by a [Subscription], and [Summaries] tells those who log in what happened while they were away.
package notify
