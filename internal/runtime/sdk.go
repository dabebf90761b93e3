package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/easemob"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/gateway/msync"
	"github.com/receiptd/receiptd/internal/ids"
	"github.com/receiptd/receiptd/internal/inbox"
)

// sdk is what clients with the Easemob SDK talk to, and what it keeps.
type sdk struct {
	inbox    *inbox.Inbox
	accounts *accounts.Accounts
	sessions *msync.Server
	rest     *easemob.REST
	ids      *ids.Source
}

// edgeState is what all edges ask together.
type edgeState interface {
	httpapi.State
	msync.State
	easemob.State
}

// openSDK opens the inboxes and accounts, which lie in the log's own server, and makes the edges
// over them.
func (s *Server) openSDK(ctx context.Context, tokens *gateway.Tokens) (*sdk, error) {
	core, cfg, state := s.Core, s.cfg, s.state()
	opening, cancel := context.WithTimeout(ctx, startLimit(cfg))
	defer cancel()
	nc, err := core.Log.Connect(opening, "receiptd sdk")
	if err != nil {
		return nil, fmt.Errorf("connect for inboxes and accounts: %w", err)
	}
	// Alone, one try says it all.
	try := func(step func(context.Context) error) error { return step(opening) }
	if cfg.Cluster.Node != "" {
		try = func(step func(context.Context) error) error {
			return retry(opening, core.logger, step, accounts.ErrBucketConfig, inbox.ErrStreamConfig)
		}
	}
	x := &sdk{ids: new(ids.Source)}
	users := accounts.Config{
		MaxUsers: cfg.SDK.MaxUsers, MaxGroups: cfg.SDK.GroupsPerApp, MaxGroupsOfUser: cfg.SDK.GroupsPerUser,
		Invitations: accounts.InvitationLimits{
			OfGroup: cfg.SDK.InvitationsPerGroup, OfInvitee: cfg.SDK.InvitationsPerInvitee,
			OfInviter: cfg.SDK.InvitationsPerInviter, OfApp: cfg.SDK.InvitationsPerApp,
		},
		Replicas: cfg.CopiesOfLog(), Shared: cfg.Cluster.Node != "", Room: core.Log.ReserveDisk, Registerer: core.registry,
	}
	if err := try(func(ctx context.Context) (err error) { x.accounts, err = accounts.Open(ctx, nc, users); return err }); err != nil {
		return nil, err
	}
	boxes := inbox.Config{
		MaxMessages: cfg.SDK.InboxMessages, MaxAge: cfg.SDK.InboxAge, MaxBytes: int64(cfg.SDK.InboxSize),
		Replicas: cfg.CopiesOfLog(), Shared: cfg.Cluster.Node != "", Room: core.Log.ReserveDisk, Registerer: core.registry, Logger: s.edgeLog,
	}
	if err := try(func(ctx context.Context) (err error) { x.inbox, err = inbox.Open(ctx, nc, boxes); return err }); err != nil {
		return nil, err
	}
	var elsewhere msync.OtherNodes
	if s.otherNodes != nil {
		elsewhere = s.otherNodes
	}
	x.sessions = msync.New(msync.Config{
		State: state, Log: core.Log, Commands: &commands{log: core.Log, projector: s.folds()},
		Notify: core.hub, Inbox: x.inbox, IDs: x.ids, Tokens: tokens, Gate: s.intake, Partitions: core.Log.Partitions(), OtherNodes: elsewhere,
		Registerer: core.registry, Logger: s.edgeLog,
		Limits: msync.Limits{
			Connections: cfg.SDK.MaxConnections, PerUser: cfg.SDK.MaxConnectionsPerUser, PendingPerAddress: cfg.SDK.PendingPerAddress,
			Provision: cfg.SDK.ProvisionTimeout, Idle: cfg.SDK.IdleTimeout, Write: cfg.SDK.WriteTimeout,
			FramesPerSecond: cfg.SDK.FramesPerSecond, SendsPerSecond: cfg.SDK.SendsPerSecond,
		},
	})
	x.rest = easemob.New(easemob.Config{
		State: state, Log: core.Log, Accounts: x.accounts, Sessions: x.sessions, IDs: x.ids,
		Tokens: tokens, Fresh: s.freshness(), AdminKey: s.adminKey, Logger: s.edgeLog, Registerer: core.registry,
		Limits: easemob.Limits{
			RequestsPerUser: cfg.SDK.RequestsPerUser, RequestsPerAddress: cfg.SDK.RequestsPerAddress,
			InvitesPerUser: cfg.SDK.InvitesPerUser, InvitesPerApp: cfg.SDK.InvitesPerApp, GroupMembers: cfg.SDK.GroupMembers,
		},
	})
	return x, nil
}

// close ends what Run has left: sessions whose drain was cut off, and the inboxes, which write down
// the devices' positions.
func (s *sdk) close(ctx context.Context) error {
	return errors.Join(s.sessions.Close(ctx), s.inbox.Close(ctx))
}
