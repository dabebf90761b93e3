package schema

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// QueryParameters returns the query parameters of each call that [OpenAPI] describes, by its method
// and path, "GET /v1/apps/{org}/{app}/rejections", and name, and whether they may come several
// times. A token in the query counts as one.
func QueryParameters() (map[string]map[string]bool, error) {
	var d description
	if err := yaml.Unmarshal(OpenAPI, &d); err != nil {
		return nil, fmt.Errorf("schema: read the description: %w", err)
	}
	all := map[string]map[string]bool{}
	for path, item := range d.Paths {
		var ofAll []parameter
		if node, ok := item["parameters"]; ok {
			if err := node.Decode(&ofAll); err != nil {
				return nil, fmt.Errorf("schema: parameters of %s: %w", path, err)
			}
		}
		for method, node := range item {
			var call operation
			switch method {
			case "get", "put", "post", "patch", "delete":
				if err := node.Decode(&call); err != nil {
					return nil, fmt.Errorf("schema: %s %s: %w", method, path, err)
				}
				call.Parameters = append(slices.Clip(ofAll), call.Parameters...)
				all[strings.ToUpper(method)+" "+path] = d.queryOf(call)
			}
		}
	}
	return all, nil
}

// description is what of the document is needed here.
type description struct {
	Paths      map[string]map[string]yaml.Node
	Components struct {
		Parameters      map[string]parameter
		SecuritySchemes map[string]parameter `yaml:"securitySchemes"`
	}
}

type operation struct {
	Parameters []parameter
	Security   []map[string][]string
}

type parameter struct {
	Ref      string `yaml:"$ref"`
	Name, In string
	Schema   struct{ Type any }
}

func (d *description) queryOf(call operation) map[string]bool {
	names := map[string]bool{}
	add := func(p parameter) {
		if p.In == "query" {
			names[p.Name] = p.Schema.Type == "array"
		}
	}
	for _, p := range call.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		add(p)
	}
	for _, either := range call.Security {
		for scheme := range either {
			add(d.Components.SecuritySchemes[scheme])
		}
	}
	return names
}
