package oracle

import (
	"fmt"
	"slices"
)

// CheckInvariants checks what the rules say in more than one way.
func (m *Model) CheckInvariants() error {
	for name, a := range m.apps {
		for _, c := range a.conversations {
			if err := c.check(); err != nil {
				return fmt.Errorf("%s: %v: %w", name, c.name, err)
			}
		}
		for author, s := range a.summaries {
			for _, x := range s.items {
				if !x.possible(author) || len(s.items) > m.limits.MaxSummaryItems {
					return fmt.Errorf("%s: %s has the item %+v", name, author, x)
				}
			}
		}
		if len(a.parked) > m.limits.MaxParked || len(a.rejections) > m.limits.MaxRejections {
			return fmt.Errorf("%s: %d parked, %d rejections", name, len(a.parked), len(a.rejections))
		}
	}
	return nil
}

// possible says what is true of an author's item: their message was received or read, or their peer
// read the chat.
func (x *item) possible(author string) bool {
	if msg := x.message; msg != nil {
		return msg.from == author && !msg.recalled && (msg.delivered || len(msg.readers) > 0)
	}
	peer := x.chat.member(x.chat.peerOf(author))
	return x.chat.name.Group == "" && x.chat.member(author) != nil && peer.watermark > 0
}

func (c *conversation) check() error {
	if c.sent != len(c.messages) {
		return fmt.Errorf("%d sent, %d messages", c.sent, len(c.messages))
	}
	for _, u := range c.members {
		if !u.current() {
			continue
		}
		if got, want := len(c.unreadOf(u)), c.countUnread(u); got != want {
			return fmt.Errorf("%s counts %d unread, is to count %d", u.user, got, want)
		}
		if shown := u.shownWatermark; shown > u.watermark || !u.stays && (shown != u.watermark || u.shownLastReadAt != u.lastReadAt) {
			return fmt.Errorf("%s: shown are %d and %d, instead of %d and %d", u.user, shown, u.shownLastReadAt, u.watermark, u.lastReadAt)
		}
	}
	for _, msg := range c.messages {
		for _, r := range msg.readers { // in the order of the log: some report late
			if !slices.Contains(msg.eligible, r.User) || r.ReadAt < msg.sentAt {
				return fmt.Errorf("%s: read by %+v", msg.id, r)
			}
		}
		if err := c.checkEligible(msg); err != nil {
			return err
		}
	}
	return nil
}

// countUnread says it the other way round: of what others sent during the member's stays, neither
// silent nor recalled, what is behind the watermark or was read alone is no more unread.
func (c *conversation) countUnread(u *member) int {
	n := 0
	for _, msg := range c.messages {
		if msg.from == u.user || !u.wasThere(msg) || msg.silent || msg.recalled {
			continue
		}
		if behind := msg.seq <= u.watermark; !behind && !slices.Contains(u.alone, msg.seq) {
			n++
		}
	}
	return n
}

func (u *member) wasThere(msg *message) bool {
	return slices.ContainsFunc(u.spans, func(s span) bool {
		return s.joined < msg.seq && (!s.ended || msg.seq <= s.left)
	})
}

// checkEligible compares the frozen readers with the spans.
func (c *conversation) checkEligible(msg *message) error {
	var there []string
	for _, u := range c.members {
		if u.user != msg.from && u.wasThere(msg) {
			there = append(there, u.user)
		}
	}
	if msg.kind == tracked && !msg.recalled && !slices.Equal(there, msg.eligible) {
		return fmt.Errorf("%s: %q are eligible, %q were there", msg.id, msg.eligible, there)
	}
	return nil
}
