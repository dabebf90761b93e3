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
		Name: "unknown-while-the-log-is-away", File: "internal/runtime/cluster.go",
		Old:     `if err := n.fresh.Newest(ctx); err != nil {`,
		New:     `if err := n.fresh.Newest(ctx); err != nil && ctx.Err() == nil {`,
		Bug:     "a node whose log does not answer in time says of an app that there is none",
		Package: "internal/runtime", Test: "TestAppsAreNotUnknownWhileTheLogIsAway",
	},
	{
		Name: "folded-again-without-end", File: "internal/cluster/aside.go",
		Old:     `if c.doubted {`,
		New:     `if c.doubted && c.refolded > 1<<30 {`,
		Bug:     "a node that decides otherwise folds its copy again at full speed for ever",
		Package: "internal/cluster", Test: "TestDisputesComeToRest",
	},
	{
		Name: "wrong-for-good-after-one-flipped-bit", File: "internal/cluster/aside.go",
		Old: `	if c.doubted {
		reason`,
		New: `	if c.doubted || c.refolded == 0 {
		reason`,
		Bug:     "a copy that a disk has spoilt once is not folded again",
		Package: "internal/cluster", Test: "TestDisputesComeToRest",
	},
	{
		Name: "believed-by-nobody", File: "internal/cluster/compare.go",
		Old:     `(disputed || !all || len(checksums) == 1)`,
		New:     `(disputed || !all)`,
		Bug:     "a copy that decides otherwise is folded again whenever the others were away for a moment",
		Package: "internal/cluster", Test: "TestUntilWhenACopyIsDoubted",
	},
	{
		Name: "refused-and-folded-all-the-same", File: "consumers/projector/refold.go",
		Old:     `if why := w.refold.refused.Load(); why != nil {`,
		New:     `if why := w.refold.refused.Load(); why != nil && w.gen == nil {`,
		Bug:     "a copy that was refused is folded again, and answers as wrongly as before",
		Package: "consumers/projector", Test: "TestRefusedStateStaysAside",
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
		Name: "feed-takes-the-copys-watermark", File: "internal/feed/incoming.go",
		Old:     `n.missed(after)`,
		New:     `n.upto = after`,
		Bug:     "a copy that takes over and is behind tells again what the one before it has told",
		Package: "internal/feed", Test: "TestSeedsOfFeeding", Args: seeds,
	},
	{
		Name: "feed-tells-what-was-told", File: "internal/feed/outgoing.go",
		Old:     `f.queue.forget(f.from)`,
		New:     ``,
		Bug:     "a copy that is behind is refused, since it tells what it was not asked for",
		Package: "internal/feed", Test: "TestFeedsLeaveOutWhatWasTold",
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
		Package: "consumers/notify", Test: "TestWhatWasMissedIsToldInOrder",
	},
	{
		Name: "online-is-here", File: "internal/gateway/msync/online.go",
		Old:     `return append(here, s.cfg.OtherNodes.Online(ctx, app, away)...)`,
		New:     `return here`,
		Bug:     "what is for those who are online is lost to those who are so at another node",
		Package: "internal/gateway/msync", Test: "TestWhoIsOnlineAtAnotherNode",
	},
	{
		Name: "presence-without-end", File: "internal/presence/othernodes.go",
		Old:     `context.WithTimeout(ctx, patience)`,
		New:     `context.WithTimeout(ctx, 10*patience)`,
		Bug:     "a send waits as long as it may for a node that stands still, and is not answered",
		Package: "internal/presence", Test: "TestUsersOfNodesThatAreGoneAreOffline",
	},
}
