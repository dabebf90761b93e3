package gateway

import (
	"errors"
	"time"
)

// Invitation is a question to a user that waits for an answer: whether they want to be in a group.
type Invitation struct {
	Group, User, Inviter string
	// GroupName is what the group is called; empty if it has no name.
	GroupName string
	// At is when the user was invited, Expires when the invitation ends.
	At, Expires time.Time
}

// InvitationPage is a part of a list of invitations.
type InvitationPage struct {
	Invitations []Invitation
	// Next is what the next page begins after; empty if this is the last one.
	Next string
}

// Why invitations cannot be listed, answered or withdrawn. Each edge has its own words for these.
var (
	// ErrNotInvited: no invitation of that user into that group waits, or there is no such group.
	ErrNotInvited = errors.New("gateway: no such invitation")
	// ErrTooOften: the caller has made too many calls.
	ErrTooOften = errors.New("gateway: too many calls")
	// ErrGroupFull: the group has as many members as it may have.
	ErrGroupFull = errors.New("gateway: the group is full")
)
