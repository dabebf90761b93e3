package notify

// gap is a part of a partition whose effects were not pushed: those of the entries after one, up to
// another one.
type gap struct{ after, upto uint64 }

// gaps are the gaps that a subscriber was not told of yet, by partition. Two gaps of a partition
// are kept as one, with what lies between them.
type gaps map[int]gap

func (g *gaps) open(partition int, x gap) {
	if *g == nil {
		*g = gaps{}
	}
	if old, is := (*g)[partition]; is {
		x = gap{min(old.after, x.after), max(old.upto, x.upto)}
	}
	(*g)[partition] = x
}

// close takes away what a summary has told, up to an entry of each partition.
func (g gaps) close(told []uint64) {
	for k, x := range g {
		switch {
		case k >= len(told):
		case told[k] >= x.upto:
			delete(g, k)
		default:
			g[k] = gap{max(x.after, told[k]), x.upto}
		}
	}
}

// before reports whether a notification has to wait until a summary has told what lies in a gap:
// the summary may have it, too. What users did themselves is in no summary.
func (g gaps) before(n *Notification) bool {
	x, is := g[n.partition]
	return is && !n.Own && n.sequence > x.after
}

func (g gaps) afters() map[int]uint64 {
	all := make(map[int]uint64, len(g))
	for k, x := range g {
		all[k] = x.after
	}
	return all
}

// SkipUpto keeps receipts of up to a sequence of each partition from being handed out, since a
// summary has told the subscriber of them: those that wait here already, and those that are still
// on their way, as the state shows an entry before its effects are pushed. What users did
// themselves is in no summary, and is handed out as ever.
func (s *Subscription) SkipUpto(upto []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = make([]uint64, len(s.upto))
	}
	for k := range min(len(upto), len(s.told)) {
		s.told[k] = max(s.told[k], upto[k])
	}
	s.takeWhere(func(n *Notification) bool { return !n.Own && s.toldOf(n.partition, n.sequence) })
	if len(s.gaps) > 0 {
		s.gaps.close(s.told)
		s.signal() // for what was held back
	}
}

// SkipRemoteUpto is SkipUpto for those partitions only whose effects come from another node: see
// [Hub.SetRemote]. All that the folds here push is handed out.
func (s *Subscription) SkipRemoteUpto(upto []uint64) {
	some := make([]uint64, len(upto))
	any := false
	for k := range upto {
		if k < len(s.hub.remote) && s.hub.remote[k].Load() {
			some[k], any = upto[k], true
		}
	}
	if any {
		s.SkipUpto(some)
	}
}

// miss notes a part of a partition that is not pushed.
func (s *Subscription) miss(partition int, g gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.toldOf(partition, g.upto) {
		return
	}
	s.gaps.open(partition, g)
	s.gaps.close(s.told) // a part of it may have been told
	s.signal()
}

func (s *Subscription) toldOf(partition int, sequence uint64) bool {
	return partition < len(s.told) && sequence <= s.told[partition]
}
