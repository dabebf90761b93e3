package httpapi

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/receiptd/receiptd/schema"
)

func TestDescriptionIsValidWithItsExamples(t *testing.T) {
	if err := described().doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// TestDescriptionListsEveryRouteAndNoOther holds the mux and the description together.
func TestDescriptionListsEveryRouteAndNoOther(t *testing.T) {
	h := newHarness(t)
	var served, listed []string
	for _, rt := range h.api.routes() {
		served = append(served, rt.method+" "+strings.TrimSuffix(rt.path, "{$}"))
	}
	open := make(map[string]bool)
	for path, item := range described().doc.Paths.Map() {
		if strings.HasPrefix(path, "/v1/admin/") {
			continue // served by what the runtime hands in: Config.Admin
		}
		for method, operation := range item.Operations() {
			listed = append(listed, method+" "+path)
			if operation.OperationID == "" || operation.Summary == "" {
				t.Errorf("%s %s has no operation id or summary", method, path)
			}
			open[method+" "+path] = operation.Security != nil && len(*operation.Security) == 0
		}
	}
	slices.Sort(served)
	slices.Sort(listed)
	if !slices.Equal(served, listed) {
		t.Errorf("served\n%s\ndescribed\n%s", strings.Join(served, "\n"), strings.Join(listed, "\n"))
	}
	for _, rt := range h.api.routes() {
		call := rt.method + " " + strings.TrimSuffix(rt.path, "{$}")
		if open[call] != (rt.access == accessOpen) {
			t.Errorf("%s: described as open %v, served as open %v", call, open[call], rt.access == accessOpen)
		}
	}
}

// written finds the codes of errors in the source: where one is set, and where the runtime refuses.
var written = regexp.MustCompile(`(?:\bcode(?:[A-Z]\w*)?"?\s*:?=?\s*(?:http\.\w+, )?|refuse\([^"\n]*|new(?:Field)?Error\([\w.]+, )"([a-z_]+)"`)

// writtenInRefusal finds them where all doors have theirs from.
var writtenInRefusal = regexp.MustCompile(`Code(?:[A-Z]\w*)?(?::| =) "([a-z_]+)"`)

// TestEveryCodeIsDescribed: a client that knows the codes of the description knows all there are,
// and none that there are not.
func TestEveryCodeIsDescribed(t *testing.T) {
	used := map[string]bool{}
	for pattern, code := range map[string]*regexp.Regexp{
		"*.go": written, "upload.go": writtenInRefusal, "../ingest/*.go": writtenInRefusal, "../front.go": written, "../../runtime/*.go": written,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range code.FindAllSubmatch(source, -1) {
				used[string(m[1])] = true
			}
		}
	}
	code := described().doc.Components.Schemas["Error"].Value.Properties["error"].Value.Properties["code"].Value
	var listed []string
	for _, c := range code.Enum {
		listed = append(listed, c.(string))
	}
	slices.Sort(listed)
	if got := slices.Sorted(maps.Keys(used)); !slices.Equal(got, listed) {
		t.Errorf("used\n%q\ndescribed\n%q", got, listed)
	}
	// What each means is said where it is answered.
	text := string(schema.OpenAPI)
	responses := described().doc.Info.Description + text[strings.Index(text, "  responses:\n    BadRequest"):strings.Index(text, "  schemas:\n")] + text[strings.Index(text, "  /v1/admin/repartition"):strings.Index(text, "  /v1/status")]
	for _, c := range listed {
		if c != "canceled" && !strings.Contains(responses, "`"+c+"`") { // nobody is told that
			t.Errorf("no response says what %s means", c)
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	h := newHarness(t)
	a := h.want(request{method: "GET", path: "/openapi.yaml", token: "-"}, 200, "")
	if !strings.HasPrefix(string(a.body), "openapi: 3.1") {
		t.Errorf("served %.40q", a.body)
	}
}
