// Package schema holds what receiptd promises to the outside in forms that machines read.
package schema

import _ "embed"

// OpenAPI is the description of the HTTP API, as YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
