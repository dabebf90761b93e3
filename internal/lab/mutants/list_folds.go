package main

// histories have the tests of random histories run a fifth of what the test command does, from a
// fixed seed; failures are not shrunk for long, nor kept.
var histories = []string{"-rapid.checks=2000", "-rapid.seed=1", "-rapid.shrinktime=1s", "-rapid.nofailfile"}

// Bugs in the rules, in what a checkpoint has of their outcome, and in how it is kept.
var foldMutants = []Mutant{
	{
		Name: "clock-runs-backward", File: "projections/clock.go",
		Old:     `c.now = max(c.now, at)`,
		New:     `c.now = at`,
		Bug:     "the fold's clock follows a broker whose clock was set back",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "validity-by-wall-time", File: "projections/message_receipt.go", Needs: "time",
		Old:     `if validity > 0 && p.position.clock.age(m.sentAt) > validity { // 8: too late`,
		New:     `if validity > 0 && time.Now().UnixMilli()-m.sentAt > validity {`,
		Bug:     "whether a receipt is too late depends on when it is folded: a replay decides otherwise",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "validity-ends-too-early", File: "projections/message_receipt.go",
		Old:     `if validity > 0 && p.position.clock.age(m.sentAt) > validity { // 8: too late`,
		New:     `if validity > 0 && p.position.clock.age(m.sentAt) >= validity {`,
		Bug:     "a receipt in the last millisecond of the validity is rejected",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "duplicate-counts-again", File: "projections/message_receipt.go",
		Old:     `!m.recalled() && m.has(kind, reader) {`,
		New:     `!m.recalled() && kind == events.MessageDelivered && m.has(kind, reader) {`,
		Bug:     "who reads a message twice is counted twice",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "eligible-counts-the-sender", File: "projections/message_sent.go",
		Old:     `h.kind, h.eligible = msgTracked, uint32(c.active-1)`,
		New:     `h.kind, h.eligible = msgTracked, uint32(c.active)`,
		Bug:     "a message counts its sender among those who may read it: nobody ever sees that all have",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "readers-not-frozen", File: "projections/member.go",
		Old:     `if m.joined < seq && (m.active() || seq <= m.left) {`,
		New:     `if m.joined <= seq && (m.active() || seq <= m.left) {`,
		Bug:     "who joins after a message is taken for one of its readers",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "watermark-off-by-one", File: "projections/message_recalled.go",
		Old:     `u.joined < m.seq && u.watermark < m.seq && `,
		New:     `u.joined < m.seq && u.watermark <= m.seq && `,
		Bug:     "recalling a message that was read takes one more from what is unread",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "watermark-behind-what-was-read", File: "projections/conversation_read.go",
		Old:     `u.watermark, u.base, u.lastReadAt = to, c.sent-c.silent-unread, p.position.clock.now // 5`,
		New:     `u.watermark, u.base, u.lastReadAt = to-1, c.sent-c.silent-unread, p.position.clock.now`,
		Bug:     "the last message that a conversation read covers counts as not read",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "hidden-reads-are-told", File: "projections/message_receipt.go",
		Old: `	if hidden {
		p.hideReceipt(`,
		New: `	if hidden && kind != events.MessageRead {
		p.hideReceipt(`,
		Bug:     "a user who hides reads is among the readers all the same",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "hiding-begins-after-a-restart", File: "projections/user_configured.go",
		Old:     `c.members[o].everywhere = 0`,
		New:     `_ = o`,
		Bug:     "what a user sets is not looked up where it was looked up before",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "hidden-read-moves-what-is-shown", File: "projections/member_extra.go",
		Old:     `x.stays, x.shown.watermark, x.shown.lastReadAt = true, u.watermark, u.lastReadAt`,
		New:     `x.shown.watermark, x.shown.lastReadAt = u.watermark, u.lastReadAt`,
		Bug:     "others see when somebody read while they hid it",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "checkpoint-without-the-mark", File: "projections/member_extra.go",
		Old:     `dst[at] |= extraMarked`,
		New:     `dst[at] |= 0`,
		Bug:     "a conversation that was marked as unread is not after a restart",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "silent-message-is-passed", File: "projections/unread.go",
		Old:     `x.silent && c.group() {`,
		New:     `x.silent {`,
		Bug:     "a silent message of a single chat that was not read never is, once those after it are",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "reciprocity-forgets-deliveries", File: "projections/summary.go",
		Old:     `if m == nil || m.deliveredAt == 0 {`,
		New:     `if m == nil || true {`,
		Bug:     "who hides their reads is not told of deliveries either",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "recall-keeps-the-eligible", File: "projections/rollup.go",
		Old:     `y.eligible -= uint64(m.eligible)`,
		New:     `y.eligible -= 0`,
		Bug:     "the readers of recalled messages stay in the read rates",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "count-kept-beside-the-read-set", File: "projections/rollup.go",
		Old: `y.onlyDelivered--
		}
	}
}`,
		New: `y.onlyDelivered -= 0
		}
	}
}`,
		Bug:     "a message that is delivered and then read counts as delivered twice",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "one-request-a-day-too-many", File: "projections/message_sent.go",
		Old:     `c.requests >= g.MaxRequestsPerGroupPerDay:`,
		New:     `c.requests > g.MaxRequestsPerGroupPerDay:`,
		Bug:     "a group may ask for receipts once more a day than the app allows",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "requests-of-yesterday-count", File: "projections/message_sent.go",
		Old:     `c.day, c.requests = day, 0`,
		New:     `c.day = day`,
		Bug:     "the daily limit is one for the life of the group",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "one-parked-too-many", File: "projections/parked.go",
		Old:     `if a.parked.count > p.limits.Parked {`,
		New:     `if a.parked.count > p.limits.Parked+1 {`,
		Bug:     "the bound on parked receipts is off by one",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "parked-expires-too-early", File: "projections/parked.go",
		Old:     `p.position.clock.now-r.at > limit; r = a.parked.oldest() {`,
		New:     `p.position.clock.now-r.at >= limit; r = a.parked.oldest() {`,
		Bug:     "a receipt whose message comes in the last millisecond is rejected",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "seen-forgets-the-newest", File: "projections/statistic_seen.go",
		Old:     `place.last <= x.Upto {`,
		New:     `place.last <= x.Upto+1 {`,
		Bug:     "a receipt that came right after what the author saw leaves the summary unseen",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "checkpoint-without-todays-requests", File: "projections/conversation_codec.go",
		Old:     `dst = binary.AppendUvarint(dst, uint64(c.requests))`,
		New:     `dst = binary.AppendUvarint(dst, 0*uint64(c.requests))`,
		Bug:     "a field is missing in the checkpoint: after a restart the daily limit begins anew",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "checkpoint-without-the-recall", File: "projections/message_recalled.go",
		Old:     `p.changes.touchMessage(m)`,
		New:     `_ = p.changes`,
		Bug:     "a recalled message is not in the next checkpoint: after a restart it is back",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "checkpoint-without-the-clock", File: "projections/partition.go",
		Old:     `dst = appendInt(dst, p.position.clock.now)`,
		New:     `dst = appendInt(dst, 0*p.position.clock.now)`,
		Bug:     "the fold's clock begins at zero after a restart",
		Package: "projections", Test: "TestHistoriesMatchTheModel", Args: histories,
	},
	{
		Name: "evicted-before-the-commit", File: "projections/cache.go",
		Old:     `case n.refs > 0 || n.epoch > committed:`,
		New:     `case n.refs > 0 || n.epoch > committed+1:`,
		Bug:     "what a checkpoint under way has not stored yet is dropped from memory, and read back as it was before",
		Package: "projections", Test: "TestCacheLetsGoOfWhatIsCommitted",
	},
	{
		Name: "checkpoint-in-two-steps", File: "projections/store/commit.go",
		Old:     `return s.db.Ingest(context.Background(), paths)`,
		New:     `return errors.Join(s.db.Ingest(context.Background(), paths[:1]), s.db.Ingest(context.Background(), paths[1:]))`,
		Bug:     "a crash in the middle leaves some tables of a checkpoint, and a position that fits no others",
		Package: "projections/store", Test: "TestCrashLeavesACheckpointWholeOrNot",
	},
	{
		Name: "store-goes-on-after-a-failure", File: "projections/store/commit.go",
		Old:     `s.failure.record(err) // what comes after would not be the state at a position`,
		New:     `_ = err`,
		Bug:     "after a checkpoint that was not written the next one is, without what the first one had",
		Package: "projections/store", Test: "TestFailedTableEndsTheStore",
	},
	{
		Name: "store-keeps-the-first-change", File: "projections/store/changes.go",
		Old:     `a.at-b.at)`,
		New:     `b.at-a.at)`,
		Bug:     "of two changes of a key in one checkpoint the first one stays",
		Package: "projections/store", Test: "TestChangesAreSorted",
	},
	{
		Name: "filter-does-not-learn-new-keys", File: "projections/store/commit.go",
		Old:     `if !x.list[i].del {`,
		New:     `if x.list[i].del {`,
		Bug:     "the filter says of new messages that they are not there",
		Package: "projections/store", Test: "TestDigestIsThatOfTheLog",
	},
	{
		Name: "digest-without-values", File: "projections/store/digest.go",
		Old:     `for _, part := range [][]byte{head, key, value} {`,
		New:     `for _, part := range [][]byte{head, key} {`,
		Bug:     "verify says equal of states with the same keys",
		Package: "projections/store", Test: "TestDigestCoversKeysAndValues",
	},
	{
		Name: "adopted-tables-not-durable", File: "projections/store/store.go",
		Old:     `return errors.Join(b.Close(), s.Flush())`,
		New:     `return b.Close()`,
		Bug:     "power loss takes a projection that was rebuilt and switched to",
		Package: "projections/store", Test: "TestAdoptReplacesWholeTables",
	},
	{
		Name: "current-written-in-place", File: "consumers/internal/fold/current.go",
		Old:     `err = disk.Rename(path+".tmp", path)`,
		New:     `err = writeSynced(disk, path, disk.PathBase(dir)+"\n")`,
		Bug:     "a crash while the generation is switched leaves a CURRENT that names none",
		Package: "consumers/internal/fold", Test: "TestCurrentIsReplacedInOneStep",
	},
	{
		Name: "state-ahead-of-its-log-is-believed", File: "consumers/internal/fold/agree.go",
		Old:     `ok := seq < first`,
		New:     `ok := seq < first || seq > last`,
		Bug:     "a state with entries that the log lost is served, and folds others at their sequences",
		Package: "consumers/projector", Test: "TestStateAheadOfItsLogIsRefused",
	},
	{
		Name: "state-on-another-entry-is-believed", File: "consumers/internal/fold/agree.go",
		Old:     `ok = eventlog.Fingerprint(e) == fingerprint`,
		New:     `ok = e.Sequence == seq || fingerprint == 0`,
		Bug:     "a state goes on in a log that has another entry at its position",
		Package: "consumers/projector", Test: "TestStateAheadOfItsLogIsRefused",
	},
	{
		Name: "corrupt-state-thrown-away", File: "consumers/internal/fold/current.go",
		Old:     `err := disk.Rename(dir, aside)`,
		New:     `err := disk.RemoveAll(dir)`,
		Bug:     "a state that the log disagrees with is deleted, and may be the only copy of what the log lost",
		Package: "consumers/projector", Test: "TestCorruptStateIsFoldedAgainWhileOthersAnswer",
	},
}
