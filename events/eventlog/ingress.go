package eventlog

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
)

const (
	// ingressAccount is the account of the producer of all apps. It has no JetStream, and sees
	// nothing of the log's account. Producers of one app are in accounts of their own: in one
	// account they could hear each other's answers.
	ingressAccount = "INGRESS"
	// DefaultIngressUser is the user name of outside producers unless [Ingress.User] says
	// otherwise.
	DefaultIngressUser = "ingress"
	// requestUser is what the names of receiptd's own users in these accounts begin with. They can
	// only log in from inside the process.
	requestUser = "receiptd-requests"

	// ingressLoginSeconds is how long a client may take to say who it is.
	ingressLoginSeconds = 5
	// ingressLook is how often the free space of the disk is looked at while there is an ingress,
	// and ingressMargin what its clients may publish meanwhile.
	ingressLook   = 50 * time.Millisecond
	ingressMargin = 16 << 20
)

// inboxPrefix is where answers go: what producers may listen on.
const inboxPrefix = "_INBOX."

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
	// Apps are further clients, each for one app. With them, User and Password need not be there.
	Apps []IngressApp
	// TLS, if set, is what the listener speaks; without it passwords travel as they are.
	TLS *tls.Config
	// MaxConnections bounds how many may be open, each of which takes a file; 0 means
	// [DefaultIngressConnections].
	MaxConnections int
}

// DefaultIngressConnections is how many connections the embedded server lets in unless
// [Ingress.MaxConnections] says otherwise.
const DefaultIngressConnections = 1024

// IngressApp lets clients publish the events of one app, "org#app", and of no other. They log in
// with the app's key as the user name.
type IngressApp struct{ App, Password string }

// minIngressPassword is the least length of a password.
const minIngressPassword = 8

// apply adds the listener, account and user to the server's options.
func (in *Ingress) apply(opts *server.Options, requestPassword string) error {
	if in.Listen == "" {
		return nil
	}
	if in.Password == "" && len(in.Apps) == 0 {
		return errors.New("ingress: a password is required to listen")
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

	opts.TLSConfig, opts.TLS = in.TLS, in.TLS != nil
	opts.TLSTimeout, opts.AuthTimeout = ingressLoginSeconds, ingressLoginSeconds

	add := func(account *server.Account, user, password string, subjects ...string) error {
		if len(password) < minIngressPassword {
			return fmt.Errorf("ingress: the password of %s has %d bytes, which can be guessed: take %d or more", user, len(password), minIngressPassword)
		}
		hash, err := hashPassword(password)
		if err != nil {
			return fmt.Errorf("ingress: %w", err)
		}
		opts.Users = append(opts.Users, &server.User{
			Username: user, Password: hash, Account: account,
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: subjects},
				Subscribe: &server.SubjectPermission{Allow: []string{inboxPrefix + ">"}},
			},
		})
		return nil
	}
	// open makes an account that receiptd is in, too.
	open := func(name string) *server.Account {
		account := server.NewAccount(name)
		opts.Accounts = append(opts.Accounts, account)
		opts.Users = append(opts.Users, &server.User{
			Username: requestUserOf(name), Password: requestPassword, Account: account,
			// The requester chooses where the answer goes.
			Permissions:            &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{inboxPrefix + ">"}}},
			AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
		})
		return account
	}
	if in.Password != "" {
		if err := add(open(ingressAccount), in.user(), in.Password, events.IngressSubjects, events.SubmitSubjects); err != nil {
			return err
		}
	}
	for _, x := range in.Apps {
		publish, request, err := ingressOf(x.App)
		if err == nil {
			err = add(open(accountOf(x.App)), x.App, x.Password, publish, request)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// accounts are the names of those of the producers.
func (in *Ingress) accounts() (names []string) {
	if in.Password != "" {
		names = append(names, ingressAccount)
	}
	for _, x := range in.Apps {
		names = append(names, accountOf(x.App))
	}
	return names
}

// requestUserOf is receiptd itself in an account of producers.
func requestUserOf(account string) string { return requestUser + "-" + account }

func (in *Ingress) user() string {
	if in.User == "" {
		return DefaultIngressUser
	}
	return in.User
}

// accountOf is the account of the producers of one app. Its name is a token of the server's own
// subjects.
func accountOf(app string) string {
	sum := sha256.Sum256([]byte(app))
	return ingressAccount + "_" + hex.EncodeToString(sum[:8])
}

// ingressOf are the subjects of one app: where its events are published, and its requests sent.
func ingressOf(app string) (publish, request string, err error) {
	if publish, err = events.IngressSubjectsOf(app); err != nil {
		return "", "", err
	}
	request, err = events.SubmitSubject(app)
	return publish, request, err
}

// openIngress takes what is published. Until then nobody receives it, and producers are told so.
func (l *Log) openIngress(ctx context.Context) error {
	r, err := l.newRelay(ctx)
	if err == nil {
		err = r.open()
	}
	if err == nil {
		l.server.watching.Go(func() { l.server.watchIngress(r) })
	}
	return err
}

// ConnectRequests opens the connections on which the requests of outside producers arrive, those to
// [events.SubmitSubjects]. They come back by themselves, and are closed by [Log.Close] at the
// latest. On the embedded server there is one in the account of the producer of all apps, and one
// in that of each app's own, so that what one app sends fills no connection but its own; they have
// nothing to do with the log's account. None say that no producers are let in. On an outside server
// it is [Log.Connect].
func (l *Log) ConnectRequests(ctx context.Context, name string) ([]*nats.Conn, error) {
	if l.server != nil {
		return l.connectProducers(ctx, name)
	}
	nc, err := l.Connect(ctx, name)
	if err != nil {
		return nil, err
	}
	return []*nats.Conn{nc}, nil
}

// connectProducers connects to each account of producers of the embedded server.
func (l *Log) connectProducers(ctx context.Context, name string) (list []*nats.Conn, err error) {
	if l.cfg.Ingress.Listen == "" {
		return nil, nil
	}
	for _, account := range l.cfg.Ingress.accounts() {
		nc, err := l.keep(l.connectAs(ctx, name, requestUserOf(account)))
		if err != nil {
			for _, nc := range list {
				nc.Close()
			}
			return nil, err
		}
		list = append(list, nc)
	}
	return list, nil
}

// watchIngress closes the relay while the disk has no room for what producers publish: they do not
// ask for room first, as the log's own publishers do. Nobody receives what they publish then, which
// their server tells them.
func (e *embedded) watchIngress(r *relay) {
	tick := time.NewTicker(ingressLook)
	defer tick.Stop()
	open := true
	for {
		select {
		case <-tick.C:
		case <-e.stopping:
			return
		}
		switch room := e.space.has(ingressMargin); {
		case open && !room:
			r.close()
			e.logger.Error("the disk is full: events of NATS clients are refused", slog.String("dir", e.dir))
			open = false
		case !open && room:
			if err := r.open(); err != nil {
				e.logger.Error("the ingress was not opened again", slog.Any("error", err))
				continue
			}
			e.logger.Info("events of NATS clients are taken again", slog.String("dir", e.dir))
			open = true
		}
	}
}

// IngressAddr is the address on which the embedded server listens for outside producers, or nil.
func (l *Log) IngressAddr() net.Addr {
	if l.server == nil || l.cfg.Ingress.Listen == "" {
		return nil
	}
	return l.server.srv.Addr()
}
