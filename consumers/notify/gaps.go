package notify

// gap is a part of a partition whose effects were not pushed: those of the entries after one, up to
// another one.
type gap struct{ after, upto uint64 }

// gaps are those that a subscriber was not told of, by partition. Two of a partition are one with
// what lies between.
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
