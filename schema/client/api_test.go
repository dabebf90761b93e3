package client

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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

// notGenerated are the operations that are written by hand, with the name of their method, or left
// out, with the reason.
var notGenerated = map[string]struct{ method, reason string }{
	"postEvents":     {method: "Send"},
	"postReceipts":   {method: "Send"},
	"importEvents":   {method: "Import"},
	"streamEvents":   {method: "Stream"},
	"getStream":      {method: "Follow"},
	"getAlertStream": {method: "FollowAlerts"},

	"postVerify":      {reason: "an operator's: receiptctl verify"},
	"postReplay":      {reason: "an operator's: receiptctl replay"},
	"getTail":         {reason: "an operator's: receiptctl tail"},
	"getPoison":       {reason: "an operator's: receiptctl poison"},
	"getScrub":        {reason: "an operator's: receiptctl scrub"},
	"postScrub":       {reason: "an operator's: receiptctl scrub"},
	"postBackup":      {reason: "an operator's: receiptctl backup"},
	"postRepartition": {reason: "an operator's: receiptctl repartition"},
	"getCluster":      {reason: "an operator's, of a cluster"},
	"deleteNode":      {reason: "an operator's, of a cluster"},
	"putCopies":       {reason: "an operator's, of a cluster"},
	"putDrain":        {reason: "an operator's, of a cluster"},
	"deleteDrain":     {reason: "an operator's, of a cluster"},
	"putMove":         {reason: "an operator's, of a cluster"},
	"deleteMove":      {reason: "an operator's, of a cluster"},
	"getStatus":       {reason: "an operator's, and the page's"},
	"getHealth":       {reason: "a supervisor's"},
	"getReady":        {reason: "a supervisor's"},
	"getMetrics":      {reason: "Prometheus's"},
	"getOpenAPI":      {reason: "what the client is made of"},
	"getPage":         {reason: "a browser's"},
	"postPage":        {reason: "a browser's"},
	"getPageFile":     {reason: "a browser's"},
}

// Every operation of the description is a method, or is left out for a reason.
func TestOperationsAreThoseOfTheDescription(t *testing.T) {
	var d struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(schema.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	// Generated names differ from ids in the case of ID, TTL and the like.
	methods := map[string]bool{}
	for m := range reflect.TypeFor[*Client]().Methods() {
		methods[strings.ToLower(m.Name)] = true
	}
	left := maps.Clone(notGenerated)
	for path, item := range d.Paths {
		for method, o := range item {
			operation, ok := o.(map[string]any)
			if !ok {
				continue // parameters of all methods
			}
			id, _ := operation["operationId"].(string)
			byHand, listed := left[id]
			delete(left, id)
			name := id
			if byHand.method != "" {
				name = byHand.method
			}
			switch has := methods[strings.ToLower(name)]; {
			case id == "":
				t.Errorf("%s %s has no operationId", method, path)
			case byHand.reason != "" && has:
				t.Errorf("%s is said to be left out, and there is a method", id)
			case byHand.reason == "" && !has:
				t.Errorf("%s %s: no method %s, and no reason", method, path, name)
			case listed && byHand.method != "" && methods[strings.ToLower(id)]:
				t.Errorf("%s is written by hand as %s, and generated", id, byHand.method)
			}
		}
	}
	for id := range left {
		t.Errorf("%s is no operation", id)
	}
}

// A number that may be null is a pointer: "not yet" is not the same as "at once".
func TestNullIsNoNumber(t *testing.T) {
	var d struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Type any }
			}
		}
	}
	if err := yaml.Unmarshal(schema.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	types := map[string]reflect.Type{"ReadRate": reflect.TypeFor[ReadRate](), "RateNumbers": reflect.TypeFor[RateNumbers]()}
	found := 0
	for name, s := range d.Components.Schemas {
		for property, p := range s.Properties {
			kinds, _ := p.Type.([]any)
			if !slices.Contains(kinds, any("null")) || !slices.Contains(kinds, any("number")) && !slices.Contains(kinds, any("integer")) {
				continue
			}
			found++
			if types[name] == nil {
				t.Errorf("%s has a number that may be null, and this test does not know its type", name)
				continue
			}
			i := slices.IndexFunc(reflect.VisibleFields(types[name]), func(f reflect.StructField) bool {
				return strings.Split(f.Tag.Get("json"), ",")[0] == property
			})
			if i < 0 || types[name].Field(i).Type != reflect.TypeFor[*float64]() {
				t.Errorf("%s.%s may be null, and its field is no *float64", name, property)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d numbers that may be null were found", found)
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
