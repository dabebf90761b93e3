package main

// Bugs in who does what only one node does at a time, and in whose a data directory is.
var singletonMutants = []Mutant{
	{
		Name: "who-cannot-keeps-the-right", File: "internal/cluster/singleton.go",
		Old:     `left = s.leave(ctx, w, true)`,
		New:     `left = nil`,
		Bug:     "while the node that fills ClickHouse is there and cannot, nobody fills it",
		Package: "internal/cluster", Test: "TestWhoCannotGivesTheRightUp",
	},
	{
		Name: "note-on-no-condition", File: "internal/cluster/writer.go",
		Old: `p.revision, err = w.register.Update(ctx, w.key(number), text, p.revision)`,
		New: `if _, p.revision, err = w.register.Get(ctx, w.key(number)); err == nil {
			p.revision, err = w.register.Update(ctx, w.key(number), text, p.revision)
		}`,
		Bug:     "a writer that was paused goes on beside its successor",
		Package: "internal/cluster", Test: "TestSeedsOfSingleton", Args: seeds,
	},
	{
		Name: "claim-on-no-condition", File: "internal/cluster/writer.go",
		Old: `_, err = r.Update(ctx, name, mine, revision)`,
		New: `if _, revision, err = r.Get(ctx, name); err == nil {
			_, err = r.Update(ctx, name, mine, revision)
		}`,
		Bug:     "two nodes have the same term, and neither fences the other one",
		Package: "internal/cluster", Test: "TestSeedsOfSingleton", Args: seeds,
	},
	{
		Name: "stale-note-believed", File: "internal/cluster/writer.go",
		Old: `	p.revision = now.revision
	if err = w.store(ctx, number, p); errors.Is(err, ErrConflict) {`,
		New: `	p.revision = now.revision
	if w.parts[number], err = p, nil; errors.Is(err, ErrConflict) {`,
		Bug:     "a server that was deposed says that the note is this writer's still, and the step is taken",
		Package: "internal/cluster", Test: "TestSeedsOfSingleton", Args: []string{"-seeds=150"},
	},
	{
		Name: "stale-claim-believed", File: "internal/cluster/writer.go",
		Old: `		if now.Term < w.term {
			return false,`,
		New: `		if false {
			return false,`,
		Bug:     "a server that was deposed says that the right is another one's, and it is not given up",
		Package: "internal/cluster", Test: "TestSeedsOfSingleton", Args: []string{"-seeds=150"},
	},
	{
		Name: "right-given-up-once", File: "internal/cluster/singleton.go",
		Old:     `left = s.leave(ctx, left, false)`,
		New:     `_, left = left, nil`,
		Bug:     "a request that is lost leaves the right with a node that cannot do the work",
		Package: "internal/cluster", Test: "TestSeedsOfSingleton", Args: []string{"-seeds=150"},
	},
	{
		Name: "wrong-fold-fills-the-archive", File: "internal/runtime/consumers.go",
		Old:     `cmp.Or(o.s.fit(), o.s.room(0))`,
		New:     `cmp.Or(o.s.room(0))`,
		Bug:     "a node whose copy was refused goes on to fill ClickHouse with what it decides",
		Package: "internal/runtime", Test: "TestNodeWithARefusedCopyGivesTheRightUp",
	},
	{
		Name: "unfit-for-a-while", File: "internal/cluster/singleton.go",
		Old:     `if looks == unableLooks || errors.Is(err, ErrUnfit) {`,
		New:     `if looks == unableLooks {`,
		Bug:     "what a node does wrong it goes on with as long as with what a full disk keeps it from",
		Package: "internal/cluster", Test: "TestWhoIsUnfitGivesTheRightUpAtOnce",
	},
	{
		Name: "data-of-any-node", File: "internal/runtime/core.go",
		Old:     `return checkOwner(cfg.Data, node)`,
		New:     `return checkOwner("", node)`,
		Bug:     "a node takes the state of another one, for which entries may have left the log that it needs",
		Package: "internal/runtime", Test: "TestDataDirectoryOfAnotherNodeIsRefused",
	},
}
