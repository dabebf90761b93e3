package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	appStreamPrefix = "RECEIPTD_INBOX_APP_"
	positionStream  = "RECEIPTD_INBOX_POSITIONS"
	// streamBefore is the stream of version 1.
	streamBefore = "RECEIPTD_INBOX"

	// Below appPrefix.APP lie bodies, under b.SENDER.CONVERSATION, and inboxes, under
	// u.USER.SENDER.
	appPrefix      = "receipts.inbox.v2."
	positionPrefix = "receipts.position.v1."
	prefixBefore   = "receipts.inbox.v1."

	// positionSlack is how much longer a position is kept than a message: if a position left before
	// the messages it covers, these would be shown again.
	positionSlack = 24 * time.Hour
)

// ErrStreamConfig is wrapped by the error for a stream that exists with another configuration. The
// stream is left as it is: the operator decides.
var ErrStreamConfig = errors.New("inbox: stream configuration differs")

// token is a name as a part of a subject. It is plain text for the server: no dots, no wildcards.
// An empty name has a token too.
func token(name string) string {
	if name == "" {
		return "-"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(name))
}

// userKey names a user of an app.
func userKey(app, user string) string { return token(app) + "." + token(user) }

// appStreamName is short, whatever the app's names are, and differs in more than the case of
// letters, which some file systems take for one.
func appStreamName(app string) string {
	sum := sha256.Sum256([]byte(app))
	return appStreamPrefix + hex.EncodeToString(sum[:16])
}

// appStream decides the configuration of an app's stream.
func (b *Inbox) appStream(app string) jetstream.StreamConfig {
	c := &b.cfg
	return jetstream.StreamConfig{
		Name:        appStreamName(app),
		Description: "receiptd: messages of " + app + " that devices have not taken yet",
		Subjects:    []string{appPrefix + token(app) + ".>"},

		// Nothing is consumed: devices read what is theirs, and limits make room.
		Retention: jetstream.LimitsPolicy,
		Storage:   jetstream.FileStorage,
		Replicas:  max(c.Replicas, 1),
		Discard:   jetstream.DiscardOld,

		MaxMsgsPerSubject: int64(c.MaxMessages),
		MaxAge:            c.MaxAge,
		MaxBytes:          c.MaxBytes,
		MaxMsgSize:        maxMessageBytes + 1024, // headers
		MaxMsgs:           -1,
		MaxConsumers:      -1,
		FirstSeq:          b.first,

		// A message to a whole group is one atomic batch, which costs one sync.
		AllowAtomicPublish: true,
		AllowDirect:        true,
	}
}

// positionStream decides the configuration of the stream of positions.
func (c *Config) positionStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        positionStream,
		Description: "receiptd: up to where each device has taken its messages",
		Subjects:    []string{positionPrefix + "*.*"},

		Retention: jetstream.LimitsPolicy,
		Storage:   jetstream.FileStorage,
		Replicas:  max(c.Replicas, 1),
		Discard:   jetstream.DiscardOld,

		MaxMsgsPerSubject: 1,
		MaxAge:            c.MaxAge + positionSlack,
		MaxBytes:          -1,
		MaxMsgSize:        maxMessageBytes + 1024,
		MaxMsgs:           -1,
		MaxConsumers:      -1,

		AllowAtomicPublish: true,
		AllowDirect:        true,
	}
}

// openStream finds a stream, or makes it. The limits of one that exists follow the settings;
// everything else has to be as decided.
func openStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		// Another process was faster, with other settings.
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("inbox: stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	if err := checkStream(&want, &have); err != nil {
		return nil, err
	}
	if have.MaxMsgsPerSubject == want.MaxMsgsPerSubject && have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes {
		return stream, nil
	}
	changed := have
	changed.MaxMsgsPerSubject, changed.MaxAge, changed.MaxBytes = want.MaxMsgsPerSubject, want.MaxAge, want.MaxBytes
	if stream, err = js.UpdateStream(ctx, changed); err != nil {
		return nil, fmt.Errorf("inbox: limits of stream %s: %w", want.Name, err)
	}
	return stream, nil
}
func checkStream(want, have *jetstream.StreamConfig) error {
	for _, field := range []struct {
		name       string
		want, have any
	}{
		{"subjects", strings.Join(want.Subjects, " "), strings.Join(have.Subjects, " ")},
		{"retention", want.Retention, have.Retention},
		{"storage", want.Storage, have.Storage},
		{"discard", want.Discard, have.Discard},
		{"allow_atomic", want.AllowAtomicPublish, have.AllowAtomicPublish},
		{"allow_direct", want.AllowDirect, have.AllowDirect},
		{"no_ack", want.NoAck, have.NoAck},
		{"deny_purge", want.DenyPurge, have.DenyPurge},
		{"mirror", want.Mirror != nil, have.Mirror != nil},
		{"sources", len(want.Sources), len(have.Sources)},
		{"subject_transform", want.SubjectTransform != nil, have.SubjectTransform != nil},
	} {
		if field.want != field.have {
			return fmt.Errorf("%w: stream %s: %s is %v, must be %v", ErrStreamConfig, have.Name, field.name, field.have, field.want)
		}
	}
	if have.Replicas < want.Replicas {
		return fmt.Errorf("%w: stream %s: num_replicas is %d, must be %d", ErrStreamConfig, have.Name, have.Replicas, want.Replicas)
	}
	if have.MaxMsgSize != -1 && have.MaxMsgSize < want.MaxMsgSize {
		return fmt.Errorf("%w: stream %s: max_msg_size is %d, must be %d", ErrStreamConfig, have.Name, have.MaxMsgSize, want.MaxMsgSize)
	}
	return nil
}
