package eventlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
)

const (
	// ingressAccount is the account of outside producers. It has no JetStream, and sees nothing of
	// the log's account but one service.
	ingressAccount = "INGRESS"
	// DefaultIngressUser is the user name of outside producers unless [Ingress.User] says
	// otherwise.
	DefaultIngressUser = "ingress"
	// requestUser is receiptd itself in that account, where it answers requests. It can only log in
	// from inside the process.
	requestUser = "receiptd-requests"
)

// inboxes are where answers go.
const inboxes = "_INBOX.>"

// Ingress lets NATS clients outside of the process publish single events to the embedded server, on
// the subjects of [events.IngressSubject]. The server routes each event to its partition and
// answers with JetStream's acknowledgement. They may also send requests to
// [events.SubmitSubjects], for whoever answers there: see [Log.ConnectRequests].
type Ingress struct {
	// Listen is the TCP address, such as "127.0.0.1:4222". Empty means no listener.
	Listen string
	// User and Password are what clients log in with. User is [DefaultIngressUser] if empty; a
	// listener without a password, or with one of more than 72 bytes, is refused. Clients may
	// publish to receipts.in.> and receipts.submit.*.*, and subscribe to _INBOX.>, and
	// nothing else.
	User, Password string
}

// apply adds the listener, account and user to the server's options.
func (in *Ingress) apply(opts *server.Options, requestPassword string) error {
	if in.Listen == "" {
		return nil
	}
	if in.Password == "" {
		return errors.New("ingress: a password is required to listen")
	}
	password, err := hashPassword(in.Password)
	if err != nil {
		return fmt.Errorf("ingress: %w", err)
	}
	host, port, err := net.SplitHostPort(in.Listen)
	if err != nil {
		return fmt.Errorf("ingress: %w", err)
	}
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("ingress: port %q: %w", port, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.Host = host
	opts.DontListen = false

	account := server.NewAccount(ingressAccount)
	opts.Accounts = append(opts.Accounts, account)
	opts.Users = append(opts.Users, &server.User{
		Username: in.user(), Password: password, Account: account,
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{events.IngressSubjects, events.SubmitSubjects}},
			Subscribe: &server.SubjectPermission{Allow: []string{inboxes}},
		},
	}, &server.User{
		Username: requestUser, Password: requestPassword, Account: account,
		// The requester chooses where the answer goes.
		Permissions:            &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{inboxes}}},
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	})
	return nil
}

func (in *Ingress) user() string {
	if in.User == "" {
		return DefaultIngressUser
	}
	return in.User
}

// openIngress connects the two accounts. Until then nobody receives what producers publish, and
// they are told so.
//
// There is a service between two accounts, rather than one account with permissions, because
// nats-server checks permissions after it has mapped the subject: a user of the log's own account
// could publish to receipts.in.> only with the permission to write to the partitions directly.
func (e *embedded) openIngress(partitions int) error {
	source, destination := events.IngressMapping(partitions)
	owner, err := e.srv.LookupAccount(logAccount)
	if err != nil {
		return err
	}
	outside, err := e.srv.LookupAccount(ingressAccount)
	if err != nil {
		return err
	}
	if err := owner.AddMapping(source, destination); err != nil {
		return fmt.Errorf("map %s: %w", source, err)
	}
	if err := owner.AddServiceExport(source, []*server.Account{outside}); err != nil {
		return fmt.Errorf("export %s: %w", source, err)
	}
	if err := outside.AddServiceImport(owner, source, source); err != nil {
		return fmt.Errorf("import %s: %w", source, err)
	}
	return nil
}

// ConnectRequests opens a connection on which the requests of outside producers arrive, those to
// [events.SubmitSubjects]. It comes back by itself, and is closed by [Log.Close] at the latest. On
// the embedded server it is one of the producers' account, which has nothing to do with the log's;
// nil says that no producers are let in. On an outside server it is [Log.Connect].
func (l *Log) ConnectRequests(ctx context.Context, name string) (*nats.Conn, error) {
	if l.server == nil {
		return l.Connect(ctx, name)
	}
	if l.cfg.Ingress.Listen == "" {
		return nil, nil
	}
	return l.keep(l.connectAs(ctx, name, requestUser))
}

// IngressAddr is the address on which the embedded server listens for outside producers, or nil.
func (l *Log) IngressAddr() net.Addr {
	if l.server == nil || l.cfg.Ingress.Listen == "" {
		return nil
	}
	return l.server.srv.Addr()
}

// IngressMapping is the part of the configuration of the log's account that lets producers publish
// to receipts.in.> on an outside NATS cluster. The embedded server has it; on a cluster it is for
// the operator to add.
//
// The server checks the permissions of a producer on the mapped subject. So give producers an
// account of their own that imports receipts.in.> as a service from the log's account, rather than
// making them users of the log's account.
func (l *Log) IngressMapping() string {
	source, destination := events.IngressMapping(l.Partitions())
	return fmt.Sprintf("mappings: {\n  %q: %q\n}\n", source, destination)
}
