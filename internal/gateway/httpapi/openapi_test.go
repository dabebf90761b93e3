package httpapi

import (
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestDescriptionIsValidWithItsExamples(t *testing.T) {
	if err := described().doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// TestDescriptionListsEveryRouteAndNoOther holds the mux and the description together.
func TestDescriptionListsEveryRouteAndNoOther(t *testing.T) {
	h := newHarness(t)
	var served, written []string
	for _, rt := range h.api.routes() {
		served = append(served, rt.method+" "+strings.TrimSuffix(rt.path, "{$}"))
	}
	open := make(map[string]bool)
	for path, item := range described().doc.Paths.Map() {
		if strings.HasPrefix(path, "/v1/admin/") {
			continue // served by what the runtime hands in: Config.Admin
		}
		for method, operation := range item.Operations() {
			written = append(written, method+" "+path)
			if operation.OperationID == "" || operation.Summary == "" {
				t.Errorf("%s %s has no operation id or summary", method, path)
			}
			open[method+" "+path] = operation.Security != nil && len(*operation.Security) == 0
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	if !slices.Equal(served, written) {
		t.Errorf("served\n%s\ndescribed\n%s", strings.Join(served, "\n"), strings.Join(written, "\n"))
	}
	for _, rt := range h.api.routes() {
		call := rt.method + " " + strings.TrimSuffix(rt.path, "{$}")
		if open[call] != (rt.access == accessOpen) {
			t.Errorf("%s: described as open %v, served as open %v", call, open[call], rt.access == accessOpen)
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
