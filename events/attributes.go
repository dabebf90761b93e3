package events

import (
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of the Attributes message.
const (
	attributesRole = iota + 1
	attributesMembers
	attributesAdmins
	attributesSettings
	attributesRevision
	attributesUpto
	attributesSendReads
	attributesSendDeliveries
	attributesDevice
)

// Fields of the Settings message.
const (
	settingsDeliveryReceipts = iota + 1
	settingsOpenRegistration
	settingsGroupReceipts
	settingsSingleReceipts
	settingsInvitations
	settingsReadReceipts
	settingsReciprocal
	settingsUnreadBy
	settingsReceiptTime
	settingsMaxReportAge
	settingsInvitationValidity
	settingsAlerts
)

// Fields of the GroupReceipts message.
const (
	groupEnabled = iota + 1
	groupWhoMayRequest
	groupValidity
	groupMaxGroupSize
	groupVisibility
	groupMaxRequests
	groupAboveLimit
)

// Field of the SingleReceipts message.
const singleValidity = 1

func appendAttributes(dst []byte, x *Attributes) []byte {
	dst = appendUint(dst, attributesRole, uint64(x.Role))
	for _, id := range x.Members {
		dst = appendString(dst, attributesMembers, id)
	}
	for _, id := range x.Admins {
		dst = appendString(dst, attributesAdmins, id)
	}
	if x.Settings != nil {
		dst = appendBytes(dst, attributesSettings, appendSettings(nil, x.Settings))
	}
	dst = appendUint(dst, attributesRevision, x.Revision)
	dst = appendUint(dst, attributesUpto, x.Upto)
	dst = appendUint(dst, attributesSendReads, uint64(x.SendReads))
	dst = appendUint(dst, attributesSendDeliveries, uint64(x.SendDeliveries))
	if x.Device != "" {
		dst = appendString(dst, attributesDevice, x.Device)
	}
	return dst
}

func appendSettings(dst []byte, s *Settings) []byte {
	dst = appendBool(dst, settingsDeliveryReceipts, s.DeliveryReceipts)
	dst = appendBool(dst, settingsOpenRegistration, s.OpenRegistration)

	g := &s.GroupReceipts
	var group []byte
	group = appendBool(group, groupEnabled, g.Enabled)
	group = appendString(group, groupWhoMayRequest, g.WhoMayRequest)
	group = appendUint(group, groupValidity, uint64(g.Validity))
	group = appendUint(group, groupMaxGroupSize, uint64(g.MaxGroupSize))
	group = appendString(group, groupVisibility, g.Visibility)
	group = appendUint(group, groupMaxRequests, uint64(g.MaxRequestsPerGroupPerDay))
	group = appendUint(group, groupAboveLimit, uint64(g.AboveLimit))
	dst = appendBytes(dst, settingsGroupReceipts, group)

	single := appendUint(nil, singleValidity, uint64(s.SingleReceipts.Validity))
	dst = appendBytes(dst, settingsSingleReceipts, single)
	dst = appendBool(dst, settingsInvitations, bool(s.Invitations))
	dst = appendUint(dst, settingsReadReceipts, uint64(s.ReadReceipts))
	dst = appendBool(dst, settingsReciprocal, s.Reciprocal)
	dst = appendUint(dst, settingsUnreadBy, uint64(s.UnreadBy))
	dst = appendUint(dst, settingsReceiptTime, uint64(s.ReceiptTime))
	dst = appendUint(dst, settingsMaxReportAge, uint64(s.MaxReportAge))
	dst = appendUint(dst, settingsInvitationValidity, uint64(s.InvitationValidity))
	for i := range s.Alerts {
		dst = appendBytes(dst, settingsAlerts, AppendAlertRule(nil, &s.Alerts[i]))
	}
	return dst
}

// attributesSize is an upper bound of the encoded size of the attributes of e.
func attributesSize(e *Event) int {
	n := 64 + len(e.Device)
	for _, ids := range [][]string{e.Members, e.Admins} {
		for _, id := range ids {
			n += len(id) + 3
		}
	}
	if e.Settings != nil {
		n += 128 + len(e.Settings.GroupReceipts.WhoMayRequest) + len(e.Settings.GroupReceipts.Visibility)
		for i := range e.Settings.Alerts {
			n += 64 + len(e.Settings.Alerts[i].Name) + len(e.Settings.Alerts[i].ID)
		}
	}
	return n
}

// nextAttributes appends empty attributes for the event.
func (b *Batch) nextAttributes(event uint32) *Attributes {
	b.Attributes = append(b.Attributes, Attributes{Event: event})
	return &b.Attributes[len(b.Attributes)-1]
}

// setAttributes copies the attributes of e.
func (b *Batch) setAttributes(event uint32, e *Event) {
	x := b.nextAttributes(event)
	x.Role, x.Revision, x.Upto = e.Role, e.Revision, e.Upto
	x.SendReads, x.SendDeliveries = e.SendReads, e.SendDeliveries
	x.Device = b.scratch.arena.copyString(e.Device)
	x.Members = b.copyStrings(e.Members)
	x.Admins = b.copyStrings(e.Admins)
	if e.Settings != nil {
		x.Settings = cloneSettings(e.Settings)
	}
}

func (b *Batch) copyStrings(ids []string) []string {
	if len(ids) == 0 {
		return nil
	}
	out := b.allocStrings(len(ids))
	for _, id := range ids {
		out = append(out, b.scratch.arena.copyString(id))
	}
	return out
}

// allocStrings returns an empty slice with room for n strings, as [arena.alloc] returns bytes.
func (b *Batch) allocStrings(n int) []string {
	pool := &b.scratch.strings
	if n > cap(*pool)-len(*pool) {
		*pool = make([]string, 0, max(2*cap(*pool), n))
	}
	from := len(*pool)
	*pool = (*pool)[:from+n]
	return (*pool)[from : from : from+n]
}

// cloneSettings copies settings so that they outlive the batch: they are rare, and folds keep them.
func cloneSettings(s *Settings) *Settings {
	c := *s
	c.GroupReceipts.WhoMayRequest = strings.Clone(c.GroupReceipts.WhoMayRequest)
	c.GroupReceipts.Visibility = strings.Clone(c.GroupReceipts.Visibility)
	c.Alerts = cloneAlerts(c.Alerts)
	return &c
}

// readAttributes decodes the attributes of an event of the kind.
func (b *Batch) readAttributes(event uint32, kind Kind, data []byte) error {
	x := b.nextAttributes(event)
	if err := b.countIDs(x, data); err != nil {
		return err
	}
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return err
		}
		data = rest
		want := protowire.VarintType
		if f.num == attributesMembers || f.num == attributesAdmins || f.num == attributesSettings || f.num == attributesDevice {
			want = protowire.BytesType
		}
		if f.num > attributesDevice {
			return unknown("field %d", f.num)
		}
		if err := f.is(want); err != nil {
			return err
		}
		switch f.num {
		case attributesRole:
			if f.value > uint64(RoleOwner) {
				return unknown("role %d", f.value)
			}
			x.Role = Role(f.value)
		case attributesMembers:
			x.Members = append(x.Members, b.scratch.arena.copyBytes(f.bytes))
		case attributesAdmins:
			x.Admins = append(x.Admins, b.scratch.arena.copyBytes(f.bytes))
		case attributesSettings:
			if x.Settings, err = readSettings(f.bytes); err != nil {
				return err
			}
		case attributesRevision:
			x.Revision = f.value
		case attributesUpto:
			x.Upto = f.value
		case attributesSendReads:
			err = f.choice(&x.SendReads)
		case attributesSendDeliveries:
			err = f.choice(&x.SendDeliveries)
		case attributesDevice:
			x.Device = b.scratch.arena.copyBytes(f.bytes)
		}
		if err != nil {
			return err
		}
	}
	if (x.Settings != nil) != (kind == AppConfigured) {
		return malformed("settings in %s", kind)
	}
	if kind == GroupRole && !x.Role.given() {
		return malformed("role %s in %s", x.Role, kind)
	}
	return nil
}

// countIDs checks the members and admins and makes room for them.
func (b *Batch) countIDs(x *Attributes, data []byte) error {
	members, admins := 0, 0
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return err
		}
		data = rest
		switch f.num {
		case attributesMembers:
			members++
		case attributesAdmins:
			admins++
		default:
			continue
		}
		if len(f.bytes) == 0 || len(f.bytes) > MaxIDBytes {
			return malformed("member of %d bytes", len(f.bytes))
		}
	}
	if members+admins > MaxFirstMembers {
		return malformed("%d members and admins", members+admins)
	}
	if members > 0 {
		x.Members = b.allocStrings(members)
	}
	if admins > 0 {
		x.Admins = b.allocStrings(admins)
	}
	return nil
}

func readSettings(data []byte) (*Settings, error) {
	s := new(Settings)
	err := readFields(data, func(f *wireField) error {
		switch f.num {
		case settingsDeliveryReceipts:
			return f.bool(&s.DeliveryReceipts)
		case settingsOpenRegistration:
			return f.bool(&s.OpenRegistration)
		case settingsInvitations:
			return f.bool((*bool)(&s.Invitations))
		case settingsReciprocal:
			return f.bool(&s.Reciprocal)
		case settingsReadReceipts:
			return readEnum(f, &s.ReadReceipts, readReceiptsNames)
		case settingsUnreadBy:
			return readEnum(f, &s.UnreadBy, unreadByNames)
		case settingsReceiptTime:
			return readEnum(f, &s.ReceiptTime, receiptTimeNames)
		case settingsMaxReportAge:
			return f.duration(&s.MaxReportAge)
		case settingsInvitationValidity:
			return f.duration(&s.InvitationValidity)
		case settingsAlerts:
			return readAlerts(&s.Alerts, f)
		case settingsGroupReceipts:
			return f.message(func(f *wireField) error { return readGroupReceipts(&s.GroupReceipts, f) })
		case settingsSingleReceipts:
			return f.message(func(f *wireField) error {
				if f.num != singleValidity {
					return unknown("field %d", f.num)
				}
				return f.duration(&s.SingleReceipts.Validity)
			})
		}
		return unknown("field %d", f.num)
	})
	if err != nil {
		return nil, within("settings", err)
	}
	return s, nil
}

func readGroupReceipts(g *GroupReceipts, f *wireField) error {
	switch f.num {
	case groupEnabled:
		return f.bool(&g.Enabled)
	case groupWhoMayRequest:
		return f.shortString(&g.WhoMayRequest)
	case groupValidity:
		return f.duration(&g.Validity)
	case groupMaxGroupSize:
		return f.int(&g.MaxGroupSize)
	case groupVisibility:
		return f.shortString(&g.Visibility)
	case groupMaxRequests:
		return f.int(&g.MaxRequestsPerGroupPerDay)
	case groupAboveLimit:
		return readEnum(f, &g.AboveLimit, aboveLimitNames)
	}
	return unknown("field %d", f.num)
}

// readFields calls read for each field of a message.
func readFields(data []byte, read func(*wireField) error) error {
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return err
		}
		if err := read(&f); err != nil {
			return err
		}
		data = rest
	}
	return nil
}

func (f *wireField) message(read func(*wireField) error) error {
	if err := f.is(protowire.BytesType); err != nil {
		return err
	}
	return readFields(f.bytes, read)
}

func (f *wireField) bool(p *bool) error {
	*p = f.value != 0
	return f.is(protowire.VarintType)
}

func (f *wireField) choice(c *Choice) error {
	if f.value >= uint64(choiceEnd) {
		return unknown("choice %d", f.value)
	}
	*c = Choice(f.value)
	return nil
}

// readEnum reads a value that has one of the names.
func readEnum[T ~uint8](f *wireField, v *T, names []string) error {
	if f.value >= uint64(len(names)) {
		return unknown("field %d: %d", f.num, f.value)
	}
	*v = T(f.value)
	return f.is(protowire.VarintType)
}

// int reads a limit: not negative.
func (f *wireField) int(p *int) error {
	if f.value > math.MaxInt {
		return malformed("field %d: %d", f.num, int64(f.value))
	}
	*p = int(f.value)
	return f.is(protowire.VarintType)
}

func (f *wireField) duration(p *Duration) error {
	if f.value > math.MaxInt64 {
		return malformed("field %d: %d", f.num, int64(f.value))
	}
	*p = Duration(f.value)
	return f.is(protowire.VarintType)
}

// shortString reads a short string and copies it.
func (f *wireField) shortString(p *string) error {
	if len(f.bytes) > MaxIDBytes {
		return malformed("field %d: %d bytes", f.num, len(f.bytes))
	}
	*p = string(f.bytes)
	return f.is(protowire.BytesType)
}
