package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/merkle"
)

// leaves are the leaves of a partition's tree, made from the files of the log as ADR 12 says and
// with nothing of the product's but the reader of the files.
func (s *server) leaves(partition int) (leaves [][32]byte) {
	s.t.Helper()
	name := "RECEIPTS_" + strconv.Itoa(partition)
	_, err := (&blockfile.Stream{Dir: s.streamDir(name), Name: name}).Scan(s.t.Context(), blockfile.Options{
		Contiguous: true, Visit: func(r blockfile.Record) error {
			data := sha256.Sum256(r.Data)
			b := binary.BigEndian.AppendUint64([]byte{0, 1}, r.Sequence)
			b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
			b = binary.BigEndian.AppendUint32(b, uint32(len(r.Subject)))
			leaves = append(leaves, sha256.Sum256(slices.Concat(b, r.Subject, data[:])))
			return nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return leaves
}

// rootOf is the head of RFC 6962.
func rootOf(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := rootOf(leaves[:k]), rootOf(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// heads are what verify says of the log, which must be equal and have the head that follows from
// the files of the log, once the server has stopped.
func (s *server) heads(partition int, v treeVerdict) {
	s.t.Helper()
	leaves := s.leaves(partition)
	p := v.Partitions[partition]
	if int(p.Tree.Size) > len(leaves) || p.Tree.Root != rootOf(leaves[:p.Tree.Size]) || p.Tree.Size != p.Position {
		s.t.Errorf("partition %d: head %v of %d entries at position %d is not that of the files", partition, p.Tree.Root, p.Tree.Size, p.Position)
	}
}

type treeVerdict struct {
	Equal      bool
	Partitions []struct {
		Position     uint64
		Tree         merkle.Head
		HeadsChecked int `json:"heads_checked"`
		Rewritten    *merkle.Head
	}
}

func trees(t testing.TB, got result, code int) (v treeVerdict) {
	t.Helper()
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || got.code != code || v.Equal != (code == 0) {
		t.Fatalf("verify: %v, %v", err, got)
	}
	return v
}

// get returns the body of an answer as it is.
func (s *server) get(path string) string {
	s.t.Helper()
	text, err := s.do("GET", path, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestLogProvesItself: heads are those of the files, at every restart, after kill -9 and a replay;
// later ones rewrite nothing of earlier ones; and a file shows without the server that a message
// was read.
func TestLogProvesItself(t *testing.T) {
	s := startServer(t, "--partitions=1")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	s.chat("x", 0, 40)
	caughtUp(t, s)
	key := strings.TrimSpace(s.ctl("prove", "--public-key").out)
	verifier, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	opened := func() merkle.Head {
		t.Helper()
		_, head, err := merkle.OpenCheckpoint(verifier, s.get("/v1/log/0/checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		return head
	}
	first := s.verify().Partitions[0].Position // and a checkpoint of the state, with the head
	eventually(t, "a head of all entries is signed", func() bool { return opened().Size >= first })
	s.attested(`"tree"`)
	kept := filepath.Join(t.TempDir(), "heads")
	s.audited(0, kept, key, "the first head")
	var heads []merkle.Head
	for _, step := range []string{"kill", "stop", "replay", "kill"} {
		heads = append(heads, opened())
		switch step {
		case "kill":
			s.kill()
		case "stop":
			s.stop()
		case "replay":
			if v := trees(t, s.ctl("replay", "--json"), 0); v.Partitions[0].HeadsChecked < 2 {
				t.Errorf("replay: %+v", v)
			}
			s.kill()
		}
		v := trees(t, run(t, "receiptctl", nil, "verify", "--json", "--data", s.data), 0)
		if v.Partitions[0].HeadsChecked == 0 {
			t.Errorf("after %s: no head was checked", step)
		}
		s.heads(0, v)
		s.start()
		s.chat(step, 40+10*len(heads), 50+10*len(heads))
		caughtUp(t, s)
		s.verify()
		last := heads[len(heads)-1]
		eventually(t, "a later head is signed", func() bool { return opened().Size > last.Size })
		s.audited(0, kept, key, "are those of the head that was kept")
	}
	s.audited(1, kept, strings.Replace(key, "receiptd/", "receiptx/", 1), "is no public key of a log")
	forge(t, s, filepath.Join(kept, "0.checkpoint"), verifier)
	s.audited(1, kept, key, "are others")
	latest := opened()
	for i, head := range heads {
		var c merkle.Consistency
		s.must("GET", "/v1/log/0/consistency?from="+strconv.FormatUint(head.Size, 10)+"&to="+strconv.FormatUint(latest.Size, 10), nil, &c)
		if err := merkle.CheckConsistency(c.Proof, head, latest); err != nil {
			t.Errorf("from head %d, of %d entries, to %d: %v", i, head.Size, latest.Size, err)
		}
		if _, again, err := merkle.OpenCheckpoint(verifier, s.get("/v1/log/0/checkpoint/"+strconv.FormatUint(head.Size, 10))); err != nil || again != head {
			t.Errorf("the head of %d entries is %v now, it was %v; %v", head.Size, again, head, err)
		}
	}

	file := filepath.Join(t.TempDir(), "evidence.json")
	prove := []string{"prove", "--app=" + chatApp, "--user=ben4", "--out=" + file, "--message="}
	if got := s.ctl(append(slices.Clone(prove[:4]), "--message=m3")...); got.code == 0 {
		t.Errorf("what was not read is proven: %v", got)
	}
	for _, whole := range []string{"--entry", "--no-entry"} {
		if whole == "--no-entry" {
			whole = "--entry=false"
		}
		if got := s.ctl(append(slices.Clone(prove[:4]), "--message=m4", whole)...); got.code != 0 {
			t.Fatalf("%s: %v", whole, got)
		}
		for text, code := range map[string]int{key: 0, strings.Replace(key, "receiptd/", "receiptx/", 1): 1} {
			got := run(t, "receiptctl", nil, "prove", "--check="+file, "--key="+text)
			if got.code != code || code == 0 && !strings.Contains(got.out, "proven: ben4 of app o#chat has read message m4") {
				t.Errorf("%s, key %s: %v", whole, text, got)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// m4 and its receipt were sent together; the file has the message only if that was
		// asked for.
		if disclosed := bytes.Contains(text, []byte(`"data": `)); disclosed != (whole == "--entry") {
			t.Errorf("%s: the entry is in the file: %v", whole, disclosed)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run(t, "receiptctl", nil, "prove", "--check="+file, "--key="+key); got.code != 1 {
			t.Errorf("%s: a changed file is accepted: %v", whole, got)
		}
	}
}

// audited runs receiptctl audit.
func (s *server) audited(code int, kept, key, says string) {
	s.t.Helper()
	if got := s.ctl("audit", kept, "--key="+key); got.code != code || !strings.Contains(got.out+got.err, says) {
		s.t.Errorf("audit: %v", got)
	}
}

// forge puts another head of the same size in the place of a kept one, signed with the log's key:
// as if what is under it had been rewritten since.
func forge(t *testing.T, s *server, path string, verifier note.Verifier) {
	t.Helper()
	private, err := os.ReadFile(filepath.Join(s.data, "log.key"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(private), "\n")
	signer, err := note.NewSigner(line)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o, head, err := merkle.OpenCheckpoint(verifier, string(kept))
	if err != nil {
		t.Fatal(err)
	}
	head.Root[0] ^= 1
	forged, err := merkle.Sign(signer, o, head)
	if err == nil {
		err = os.WriteFile(path, []byte(forged), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRewrittenLogIsFound changes one entry of a stopped server's log, with everything that tells
// of it but the heads. Whoever has one of them finds it: the start, verify, and a rebuild.
func TestRewrittenLogIsFound(t *testing.T) {
	s := startServer(t, "--partitions=1")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	s.chat("x", 0, 20)
	caughtUp(t, s)
	s.verify()
	s.stop()
	s.start() // keeps a head of all entries
	s.stop()
	s.rewrite(10)

	// The state knows what was there: the server goes on with it, and verify tells.
	v := trees(t, run(t, "receiptctl", nil, "verify", "--json", "--data", s.data), 1)
	// The first head that was kept of the rewritten entry or a later one.
	if r := v.Partitions[0].Rewritten; r == nil || r.Size < 10 {
		t.Errorf("beside the state: %+v", v)
	}
	// Without the state, there is nothing but the log and the heads.
	if err := os.RemoveAll(filepath.Join(s.data, "state")); err != nil {
		t.Fatal(err)
	}
	got := run(t, "receiptctl", nil, "verify", "--data", s.data)
	if got.code != 1 || !strings.Contains(got.out, "THE LOG WAS REWRITTEN") {
		t.Errorf("without the state: %v", got)
	}
	s.refuses("the log was rewritten", "partition 0")
}

// TestRepairedLogKeepsItsHead: what stands for a lost entry has its hash, which the state knew.
func TestRepairedLogKeepsItsHead(t *testing.T) {
	s := startServer(t, "--partitions=1")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	s.chat("x", 0, 20)
	caughtUp(t, s)
	want := trees(t, s.ctl("verify", "--json"), 0).Partitions[0].Tree
	s.stop()
	s.flip(filepath.Join(s.streamDir("RECEIPTS_0"), "msgs", "1.blk"))
	s.refuses("block_damaged")
	if got := run(t, "receiptctl", nil, "repair", "--data", s.data, "--accept-loss"); got.code != 0 {
		t.Fatal(got)
	}
	if err := os.RemoveAll(filepath.Join(s.data, "state")); err != nil {
		t.Fatal(err)
	}
	s.start() // folds the repaired log, and compares it with the heads that were kept
	if poisoned := s.get("/v1/admin/poison"); strings.HasPrefix(poisoned, `{"latest":[]`) {
		t.Errorf("nothing was lost: %s", poisoned)
	}
	v := trees(t, s.ctl("verify", "--json"), 0)
	if got := v.Partitions[0]; got.HeadsChecked == 0 || got.Tree.Size < want.Size {
		t.Errorf("after the repair: %+v, it was %+v", got, want)
	} else if got.Tree.Size == want.Size && got.Tree != want {
		t.Errorf("the head is %+v, it was %+v", got.Tree, want)
	}
}

// rewrite puts another entry in the place of one, with checksums and a witness that fit.
func (s *server) rewrite(sequence uint64) {
	s.t.Helper()
	path := filepath.Join(s.streamDir("RECEIPTS_0"), "msgs", "1.blk")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	name := "RECEIPTS_0"
	var data []byte
	_, err = (&blockfile.Stream{Dir: s.streamDir(name), Name: name}).Scan(s.t.Context(), blockfile.Options{Visit: func(r blockfile.Record) error {
		if r.Sequence == sequence {
			data = bytes.Clone(r.Data)
		}
		return nil
	}})
	at := bytes.Index(text, data)
	if err != nil || len(data) == 0 || at < 0 {
		s.t.Fatalf("entry %d is not in %s: %v", sequence, path, err)
	}
	text[at] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	list, err := eventlog.Repair(s.t.Context(), filepath.Join(s.data, "log"), filepath.Join(s.data, "witness"), eventlog.RepairOptions{AcceptLoss: true})
	if err != nil || len(list) != 1 || len(list[0].Lost) != 1 || list[0].Lost[0].First != sequence {
		s.t.Fatalf("rewritten: %+v, %v", list, err)
	}
}
