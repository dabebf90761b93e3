package main

// Bugs in who folds what, and in who answers meanwhile.
var placementMutants = []Mutant{
	{
		Name: "leaves-before-another-serves", File: "internal/cluster/reconciler.go",
		Old:     `good[m.Node] = m.Node != p.node && c != nil && c.serves() && !m.silent() && m.State == StateServing &&`,
		New:     `good[m.Node] = m.Node != p.node && c != nil && !m.silent() && m.State == StateServing &&`,
		Bug:     "a copy leaves for one that is still fetched, or was found wrong",
		Package: "internal/cluster", Test: "TestForWhichCopiesAnotherOneLeaves",
	},
	{
		Name: "dead-node-vanishes", File: "internal/cluster/members.go",
		Old:     `m.nodes[name] = &member{beat: beat{Node: name}, heard: at, unheard: true}`,
		New:     `_ = at`,
		Bug:     "a restart of the others hides a node that died, for which everything stays in the log",
		Package: "internal/cluster", Test: "TestSilentNodesAreShownUntilTheyAreForgotten",
	},
	{
		Name: "forgotten-by-one-node-only", File: "internal/cluster/members.go",
		Old:     `if _, known := names[name]; !known && n.silent() {`,
		New:     `if n == nil {`,
		Bug:     "the other nodes show one that was forgotten as silent until they are restarted",
		Package: "internal/cluster", Test: "TestSilentNodesAreShownUntilTheyAreForgotten",
	},
	{
		Name: "copies-of-the-dead-are-not-missed", File: "internal/cluster/node.go",
		Old:     `if plan.Copies == 0 {`,
		New:     `if false {`,
		Bug:     "a minute after a node died as many copies are there as are wanted, and nobody is told",
		Package: "internal/cluster", Test: "TestSilentNodesAreShownUntilTheyAreForgotten",
	},
	{
		Name: "forgets-whom-it-has-not-heard-yet", File: "internal/cluster/floors.go",
		Old: `	if err := n.members.settled(ctx); err != nil {
		return err
	}`,
		New:     ``,
		Bug:     "a node that has just begun forgets one that is well, and takes its NATS server out",
		Package: "internal/cluster", Test: "TestNobodyIsForgottenBeforeAllAreHeard",
	},
	{
		Name: "job-goes-on-for-nobody", File: "internal/cluster/jobs.go",
		Old:     `if time.Since(x.asked) > jobKeep {`,
		New:     `if false {`,
		Bug:     "a node goes on with a rebuild that nobody waits for, and can do none for others before long",
		Package: "internal/cluster", Test: "TestJobsEndWithEitherNode",
	},
	{
		Name: "silent-node-is-passed-over", File: "cmd/receiptctl/rebuild.go",
		Old:     `return errors.New("it is silent, and was not asked")`,
		New:     `return nil`,
		Bug:     "all nodes are said to be proven, and one was not there",
		Package: "cmd/receiptctl", Test: "TestAllNodesRebuild",
	},
	{
		Name: "one-node-for-all", File: "cmd/receiptctl/rebuild.go",
		Old:     `query.Set("node", node)`,
		New:     `_ = node`,
		Bug:     "the node that is asked proves its state once for each node",
		Package: "cmd/receiptctl", Test: "TestAllNodesRebuild",
	},
	{
		Name: "leaves-for-a-copy-that-differs", File: "internal/cluster/reconciler.go",
		Old:     `!c.behind(furthest) && p.agrees(k, &m)`,
		New:     `!c.behind(furthest)`,
		Bug:     "the right copy leaves, and a wrong one is all that is left",
		Package: "internal/cluster", Test: "TestForWhichCopiesAnotherOneLeaves",
	},
	{
		Name: "two-leave-at-a-time", File: "internal/cluster/plan.go",
		Old: `			return false, errNeeded
		}
		return true, nil`,
		New: `			return false, errNeeded
		}
		return false, nil`,
		Bug:     "two copies leave at a time, each for the other one",
		Package: "internal/cluster", Test: "TestSeedsOfPlacement", Args: seeds,
	},
	{
		Name: "drain-takes-the-last-copy", File: "internal/cluster/plan.go",
		Old:     `need := max(1, len(can))`,
		New:     `need := len(can)`,
		Bug:     "the only copy leaves a drained node while no other node is there",
		Package: "internal/cluster", Test: "TestLastCopyStays",
	},
	{
		Name: "all-nodes-drained", File: "internal/cluster/plan.go",
		Old:     `if len(p.Drained) >= len(p.Nodes) {`,
		New:     `if len(p.Drained) > len(p.Nodes) {`,
		Bug:     "the last node is drained, and nobody is to have copies",
		Package: "internal/cluster", Test: "TestLastCopyStays",
	},
	{
		Name: "copies-without-a-majority", File: "internal/cluster/reconciler.go",
		Old: `	if err := p.keepFloor(ctx); err != nil {
		return err
	}`,
		New:     ``,
		Bug:     "a node that is cut off from most folds the share of all others",
		Package: "internal/cluster", Test: "TestSeedsOfPlacement", Args: []string{"-seeds=150"},
	},
	{
		Name: "asked-while-it-is-fetched", File: "internal/cluster/members.go",
		Old:     `if n.Node == m.name || c == nil || !c.serves() || time.Since(n.heard) > goneAfter {`,
		New:     `if n.Node == m.name || c == nil || time.Since(n.heard) > goneAfter {`,
		Bug:     "copies are asked that are not complete, before those that are",
		Package: "internal/cluster", Test: "TestWhichCopiesAreAsked",
	},
	{
		Name: "answers-while-it-is-fetched", File: "consumers/projector/copies.go",
		Old: `	reason := ErrArriving
	w.refold.reason.Store(&reason)
	g, err`,
		New: `	w.refold.reason.Store(nil)
	g, err`,
		Bug:     "a copy answers with the part of the log that it has folded so far",
		Package: "consumers/projector", Test: "TestPartitionsComeAndGo",
	},
	{
		Name: "part-for-the-whole", File: "internal/cluster/ask.go",
		Old:     `switch elsewhere := p != nil && p.Code == Unavailable; {`,
		New:     `switch elsewhere := false; {`,
		Bug:     "what one node cannot answer is asked of no other one",
		Package: "internal/cluster", Test: "TestSeedsOfAsking", Args: seeds,
	},
	{
		Name: "missing-partition-is-passed-over", File: "internal/router/router.go",
		Old: `				var none R
				yield(none, err)
				return`,
		New:     `				missing = nil`,
		Bug:     "a user's conversations are answered without those of a partition that nobody has",
		Package: "internal/runtime", Test: "TestOtherNodesAnswerForLostCopies",
	},
	{
		Name: "outcomes-of-another-entry", File: "internal/router/router.go",
		Old:     `answers, err := r.askOf(asked, name, []byte("{}"),`,
		New:     `answers, err := r.askFor(asked, name, []byte("{}"),`,
		Bug:     "an event is told what was decided about one of a later entry, by a node that has no copy",
		Package: "internal/runtime", Test: "TestAnswersOfOtherNodesAreNotOlder",
	},
	{
		Name: "idle-log-is-not-compared-again", File: "internal/cluster/compare.go",
		Old: `		c.compare = position
		return
	}
	if c.compare > position {`,
		New: `		if c.checksum.Sequence != position {
			c.compare = position
		}
		return
	}
	if c.compare > position {`,
		Bug:     "a copy never leaves a partition that gets no entries",
		Package: "internal/cluster", Test: "TestCopyThatComesIsComparedWhereTheLogEnds",
	},
	{
		Name: "second-place-of-an-entry", File: "events/eventlog/ownsubject.go",
		Old:     `if a.verdict != overtaken && (a.verdict != stored || !d.inDoubt) {`,
		New:     `if a.verdict != overtaken {`,
		Bug:     "an entry that a server lost and stored again is told to be all duplicates",
		Package: "events/eventlog", Test: "TestOwnEntryThatIsStoredTwice",
	},
	{
		Name: "store-of-a-node-is-off", File: "events/eventlog/serverstore.go",
		Old: `	case l.peer != nil:
		return l.peer.srv`,
		New:     ``,
		Bug:     "a node whose NATS server turned its store off looks well, and holds no replica",
		Package: "events/eventlog", Test: "TestStoreOfAPeerThatIsOffFailsTheLog",
	},
	{
		Name: "shares-without-a-bound", File: "internal/cluster/placement.go",
		Old:     `return cmp.Compare(has[a]/full, has[b]/full)`,
		New:     `return 0`,
		Bug:     "of few partitions one node has nearly all",
		Package: "internal/cluster", Test: "TestSharesAreEven",
	},
	{
		Name: "judged-before-all-are-heard", File: "internal/cluster/compare.go",
		Old:     `missing == 0 || 2*votes`,
		New:     `missing >= 0 || 2*votes`,
		Bug:     "a right copy is put aside, for the wrong one was heard before the third",
		Package: "internal/cluster", Test: "TestCopiesThatDifferWaitForTheOthers",
	},
}
