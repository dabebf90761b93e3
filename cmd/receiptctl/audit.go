package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/ctl"
)

// errRewritten is the error of an audit that fails.
var errRewritten = errors.New("the log is not the one whose heads were kept, continued")

// auditCommand keeps heads of a log and has each later one proven to continue the one before.
type auditCommand struct {
	Dir string `arg:"" placeholder:"DIR" help:"Where the auditor keeps the heads; made if it is not there."`
	Key string `required:"" placeholder:"KEY" help:"Public key of the log, or a file with it."`
}

// Help is the long description of the command.
func (auditCommand) Help() string {
	return `Takes the latest signed head of each partition from a running server, checks the signature, has the
server prove that it continues the head that DIR has of the last audit, and keeps it there instead.
So an entry that was changed, left out or put in before the last audit is found, whoever did it and
whatever else they changed, as long as DIR is out of their reach. Run it on another machine, now
and then. Exits with 1, and keeps the older heads, if the log is not the same one, continued.

The key is what receiptctl prove --public-key prints; take it once, by a way that you trust.`
}

// Run audits each partition. A partition that fails does not keep the others from being looked at.
func (a auditCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	verifier, err := verifierOf(a.Key)
	if err != nil {
		return err
	}
	client, err := target.Client()
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(a.Dir, 0o700); err != nil {
		return err
	}
	auditor := auditor{client: client, key: verifier, dir: a.Dir}
	var failed error
	for partition, of := 0, 1; partition < of; partition++ {
		o, err := auditor.audit(ctx, partition, std.out)
		of = max(of, o.Partitions)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("partition %d: %w", partition, err))
		}
	}
	return failed
}

type auditor struct {
	client *ctl.Client
	key    note.Verifier
	dir    string
}

// audit takes a partition's head if it continues the one that is kept.
func (a auditor) audit(ctx context.Context, partition int, w io.Writer) (merkle.Origin, error) {
	path := fmt.Sprintf("/v1/log/%d/checkpoint", partition)
	text, err := a.client.Text(ctx, path, nil)
	if err != nil {
		return merkle.Origin{}, err
	}
	signed := string(text)
	o, head, err := merkle.OpenCheckpoint(a.key, signed)
	if err == nil && o.Partition != partition {
		err = fmt.Errorf("%w: the head of partition %d", errRewritten, o.Partition)
	}
	if err != nil {
		return o, err
	}
	file := filepath.Join(a.dir, fmt.Sprintf("%d.checkpoint", partition))
	kept, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(w, "%s: %d entries, the first head that is kept\n", o, head.Size)
		return o, atomicfile.WriteSynced(file, []byte(signed), 0o600)
	case err != nil:
		return o, err
	}
	before, old, err := merkle.OpenCheckpoint(a.key, string(kept))
	switch {
	case err != nil:
		return o, fmt.Errorf("%s: %w", file, err)
	case !o.Continues(before):
		return o, fmt.Errorf("%w: it was %s and is %s", errRewritten, before, o)
	case head.Size < old.Size:
		return o, fmt.Errorf("%w: it had %d entries and has %d", errRewritten, old.Size, head.Size)
	}
	if err := a.continues(ctx, partition, old, head); err != nil {
		return o, err
	}
	fmt.Fprintf(w, "%s: %d entries, of which the first %d are those of the head that was kept\n", o, head.Size, old.Size)
	return o, atomicfile.WriteSynced(file, []byte(signed), 0o600)
}

// continues has the server prove that a head continues an older one.
func (a auditor) continues(ctx context.Context, partition int, old, head merkle.Head) error {
	if old.Size == 0 { // which anything continues
		return nil
	}
	var answer struct {
		Proof []merkle.Hash `json:"proof"`
	}
	query := url.Values{"from": {fmt.Sprint(old.Size)}, "to": {fmt.Sprint(head.Size)}}
	if err := a.client.Call(ctx, "GET", fmt.Sprintf("/v1/log/%d/consistency", partition), query, nil, &answer); err != nil {
		return err
	}
	if err := merkle.CheckConsistency(answer.Proof, old, head); err != nil {
		return fmt.Errorf("%w: its first %d entries are others: %w", errRewritten, old.Size, err)
	}
	return nil
}

// verifierOf reads a public key, or the file that has it.
func verifierOf(key string) (note.Verifier, error) {
	text := key
	if content, err := os.ReadFile(key); err == nil {
		text = string(content)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("--key %s is no public key of a log: %w", key, err)
	}
	return verifier, nil
}
