package client

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/schema"
)

// TestGeneratedCodeIsOfTheDescription generates api.gen.go again.
func TestGeneratedCodeIsOfTheDescription(t *testing.T) {
	made := filepath.Join(t.TempDir(), "api.gen.go")
	c := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../../internal/lab/e2e/clients/go.mod", "oapi-codegen",
		"-config", "oapi-codegen.yaml", "-o", made, "../../openapi.yaml")
	c.Dir = "generate"
	c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("api.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("schema/openapi.yaml has changed: go generate ./schema/client")
	}
}

// Every type of event in the description is an Event, with its name.
func TestEventsAreThoseOfTheDescription(t *testing.T) {
	var d struct {
		Components struct {
			Schemas struct {
				Event struct {
					Discriminator struct{ Mapping map[string]string }
				} `yaml:"Event"`
			}
		}
	}
	if err := yaml.Unmarshal(schema.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for name, ref := range d.Components.Schemas.Event.Discriminator.Mapping {
		want = append(want, name+" "+filepath.Base(ref))
	}
	for _, e := range []Event{
		MessageSent{}, MessageDelivered{}, MessageRead{}, ConversationRead{}, ConversationMarkedUnread{}, MessageRecalled{},
		GroupCreated{}, GroupJoined{}, GroupLeft{}, GroupRole{}, GroupDissolved{},
	} {
		line, err := json.Marshal(e.ready("made", "ann"))
		if err != nil {
			t.Fatal(err)
		}
		var sent struct{ Type, User, EventID string }
		if err := json.Unmarshal(bytes.ReplaceAll(line, []byte("event_id"), []byte("EventID")), &sent); err != nil {
			t.Fatal(err)
		}
		name := reflect.TypeOf(e).Name()
		have = append(have, sent.Type+" "+name)
		if _, ofUser := reflect.TypeOf(e).FieldByName("User"); sent.EventID != "made" || ofUser && sent.User != "ann" {
			t.Errorf("%s: %s", name, line)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

func TestPositionsMoveUpWithinALog(t *testing.T) {
	var p position
	for _, step := range []struct {
		position, log, want string
	}{
		{"", "", ""},
		{"0:12,3:44", "00000000000000aa", "0:12,3:44@00000000000000aa"},
		{"0:11,1:5", "00000000000000aa", "0:12,1:5,3:44@00000000000000aa"},
		{"0:1", "00000000000000bb", "0:1@00000000000000bb"},
		{"nonsense", "00000000000000bb", "0:1@00000000000000bb"},
	} {
		p.note(http.Header{"Receiptd-Position": {step.position}, "Receiptd-Log": {step.log}})
		if got := p.text(); got != step.want {
			t.Errorf("after %s of %s: %s", step.position, step.log, got)
		}
	}
	if err := p.add("x:1"); err == nil {
		t.Error("no position is one")
	}
}

func TestPathsAreEscaped(t *testing.T) {
	if got := path("/a/%s/b/%s/%s", "x/y %", "..", 7); got != "/a/x%2Fy%20%25/b/%2E%2E/7" {
		t.Error(got)
	}
}
