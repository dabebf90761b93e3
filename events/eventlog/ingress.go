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
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
)

const (
	// ingressAccount is the account of the producer of all apps, and of receiptd where it takes
	// what producers publish and ask for. It has no JetStream, and sees nothing of the log's
	// account. Producers of one app are in accounts of their own, which see nothing but their part
	// of its services: in one account they could hear each other's answers.
	ingressAccount = "INGRESS"
	// DefaultIngressUser is the user name of outside producers unless [Ingress.User] says
	// otherwise.
	DefaultIngressUser = "ingress"
	// requestUser is receiptd itself in that account. It can only log in from inside the process.
	requestUser = "receiptd-requests"

	// ingressLoginSeconds is how long a client may take to say who it is.
	ingressLoginSeconds = 5
	// ingressLook is how often the free space of the disk is looked at while there is an ingress,
	// and ingressMargin what its clients may publish meanwhile.
	ingressLook   = 50 * time.Millisecond
	ingressMargin = 16 << 20
)

// Where answers go: to what producers listen on in their account and, for those in another account
// than receiptd, to what the server made of it.
const (
	inboxPrefix    = "_INBOX."
	importedPrefix = "_R_."
)

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
}

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
	all := server.NewAccount(ingressAccount)
	opts.Accounts = append(opts.Accounts, all)
	if in.Password != "" {
		if err := add(all, in.user(), in.Password, events.IngressSubjects, events.SubmitSubjects); err != nil {
			return err
		}
	}
	for _, x := range in.Apps {
		account := server.NewAccount(accountOf(x.App))
		opts.Accounts = append(opts.Accounts, account)
		publish, request, err := ingressOf(x.App)
		if err == nil {
			err = add(account, x.App, x.Password, publish, request)
		}
		if err != nil {
			return err
		}
	}
	opts.Users = append(opts.Users, &server.User{
		Username: requestUser, Password: requestPassword, Account: all,
		// The requester chooses where the answer goes.
		Permissions:            &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{inboxPrefix + ">", importedPrefix + ">"}}},
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

// openIngress connects the accounts of the producers of one app to that of receiptd, and takes what
// is published. Until then nobody receives it, and producers are told so.
//
// There are services between accounts, rather than one account with permissions, because
// what is published in an account is heard by whoever may listen there, answers included.
func (l *Log) openIngress(ctx context.Context) error {
	e := l.server
	owner, err := e.srv.LookupAccount(ingressAccount)
	if err != nil {
		return err
	}
	source, _ := events.IngressMapping(1)
	var outside []*server.Account
	for _, x := range l.cfg.Ingress.Apps {
		account, err := e.srv.LookupAccount(accountOf(x.App))
		if err != nil {
			return err
		}
		outside = append(outside, account)
	}
	for _, subject := range []string{source, events.SubmitSubjects} {
		if err := owner.AddServiceExport(subject, outside); err != nil {
			return fmt.Errorf("export %s: %w", subject, err)
		}
	}
	for i, x := range l.cfg.Ingress.Apps {
		publish, request, err := ingressOf(x.App)
		if err != nil {
			return err
		}
		publish = strings.TrimSuffix(publish, ">") + "*.*" // a service has no open end
		for _, subject := range []string{publish, request} {
			if err := outside[i].AddServiceImport(owner, subject, subject); err != nil {
				return fmt.Errorf("import %s: %w", subject, err)
			}
		}
	}
	r, err := l.newRelay(ctx)
	if err == nil {
		err = r.open()
	}
	if err == nil {
		e.watching.Go(func() { e.watchIngress(r) })
	}
	return err
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
