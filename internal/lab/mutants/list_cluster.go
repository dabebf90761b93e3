package main

// Bugs between nodes: what one of them says and does while another one is further, and what the
// fold of one tells the users of another.
var clusterMutants = []Mutant{
	{
		Name: "outcome-before-the-fold", File: "consumers/projector/worker.go",
		Old: `	list, err := g.Apply(*x)
	if err != nil {`,
		New: `	if x.Batch != nil {
		w.outcomes.decided(x.Sequence, make([]events.Outcome, x.Batch.Len()))
	}
	list, err := g.Apply(*x)
	if err != nil {`,
		Bug:     "who waits for an event to be applied is told so before it is, and whatever is decided",
		Package: "consumers/projector", Test: "TestFoldOfTheLogIsThatOfTheModel",
	},
	{
		Name: "folded-again-for-a-lagging-answer", File: "consumers/internal/fold/agree.go",
		Old:     `log.Reach(ctx, partition, seq)`,
		New:     `log.Bounds(ctx, partition)`,
		Bug:     "a state is thrown away because a server that lags says that the log is shorter",
		Package: "consumers/internal/fold", Test: "TestStateIsNotFoldedAgainForALaggingAnswer",
	},
	{
		Name: "feed-drops-the-watermark", File: "internal/feed/incoming.go",
		Old:     `if list := after(x.Effects, n.upto); len(list) > 0 {`,
		New:     `if list := x.Effects; len(list) > 0 {`,
		Bug:     "a copy that is behind tells again what another one has told",
		Package: "internal/feed", Test: "FuzzReply",
	},
	{
		Name: "feed-gap-is-not-seen", File: "internal/feed/incoming.go",
		Old:     `n.hub.Missed(n.partition, n.upto, upto)`,
		New:     ``,
		Bug:     "what no copy has told is lost to those who are connected",
		Package: "internal/feed", Test: "TestSeedsOfFeeding", Args: seeds,
	},
	{
		Name: "feed-taken-over-too-soon", File: "internal/feed/incoming.go",
		Old:     `return n.upto >= n.heldAfter`,
		New:     `n.upto = max(n.upto, n.heldAfter); return true`,
		Bug:     "what happened between the watermark and where the fold here began is told by nobody",
		Package: "internal/feed", Test: "TestSeedsOfFeeding", Args: seeds,
	},
	{
		Name: "feed-of-users-of-before", File: "internal/feed/feeds.go",
		Old:     `if source == own {`,
		New:     `if source >= own {`,
		Bug:     "who comes online is told nothing by the copy that tells the others",
		Package: "internal/feed", Test: "TestSeedsOfFeeding", Args: seeds,
	},
	{
		Name: "feed-of-a-copy-that-lags", File: "internal/feed/keep.go",
		Old:     `time.Since(since) > lagMax`,
		New:     `time.Since(since) > 1000*lagMax`,
		Bug:     "users wait for a copy that does not fold while another one does",
		Package: "internal/feed", Test: "TestCopiesThatStopTelling",
	},
	{
		Name: "feed-goes-on-past-a-hole", File: "internal/feed/outgoing.go",
		Old:     `if f.begun && sequence > f.upto+1 {`,
		New:     `if f.begun && sequence > f.upto+1<<40 {`,
		Bug:     "what a fold did while it was replaced is missing from a feed that seems complete",
		Package: "internal/feed", Test: "TestFeedsThatLackSomethingAreOver",
	},
	{
		Name: "missed-told-out-of-order", File: "consumers/notify/gaps.go",
		Old:     `return is && !n.Own && n.sequence > x.after`,
		New:     `return is && !n.Own && n.sequence > x.upto+1<<40`,
		Bug:     "what came after a gap is pushed, and told again by the summary that closes it",
		Package: "consumers/notify", Test: "TestWhatWasMissedIsToldInItsPlace",
	},
}
