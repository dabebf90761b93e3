package config

import (
	"fmt"
	"io"
	"reflect"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// WriteYAML writes c in the format of the configuration file, with the source of each value beside
// it. Secrets are masked.
func (c Config) WriteYAML(w io.Writer, sources Sources) error {
	document := &yaml.Node{Kind: yaml.MappingNode}
	for _, flag := range settings(&c) {
		value := &yaml.Node{}
		if err := value.Encode(shown(flag.Target)); err != nil {
			return fmt.Errorf("config: encode %s: %w", flag.Name, err)
		}
		value.LineComment = sources[flag.Name]
		document.Content = append(document.Content,
			&yaml.Node{Kind: yaml.ScalarNode, Value: flag.Name}, value)
	}
	encoder := yaml.NewEncoder(w)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("config: write: %w", err)
	}
	return encoder.Close()
}

// shown is what may be seen of a setting: its String, if its type has one.
func shown(v reflect.Value) any {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	return v.Interface()
}

// Names lists the settings of a server in the order of their help.
func Names() []string {
	var names []string
	for _, flag := range settings(&Config{}) {
		names = append(names, flag.Name)
	}
	return names
}

// settings are the flags of c, whose targets are its fields.
func settings(c *Config) []*kong.Flag {
	parser, err := kong.New(c, kong.NoDefaultHelp())
	if err != nil {
		panic(fmt.Sprintf("config: settings: %v", err))
	}
	return parser.Model.Flags
}

// ToolNames lists the flags that only receiptctl has. They share the environment and the file with
// the server's settings, so a server must not take them for mistakes.
func ToolNames() []string {
	return []string{
		// tail, replay, verify
		"server", "app", "from", "cursor", "count", "projection", "json", "all-nodes",
		// demo
		"apps", "for", "into-existing",
		// app, token, event, message, readers, stats
		"ttl", "from-line", "dry-run", "group-by", "since", "until", "sender", "label", "tz", "under", "all-apps", "csv", "ndjson",
		// prove
		"message", "group", "user", "users", "entry", "out", "check", "key", "public-key",
		// schema
		"cluster", "database",
		// cluster move
		"to", "drop",
		// bench
		"dir", "duplicates", "duration", "early", "groups", "http", "load", "members", "seed", "cpu-profile", "cpu-profiles", "profile-phase",
		"points", "svg", "runs", "first", "receipts",
		// repair, backup, restore
		"accept-loss", "replica", "secrets", "into",
		// bench clients
		"clients", "rate",
		// bench doors, rejections, subject
		"ingress", "in-flight", "limit", "submit",
		// bench overload
		"batch", "connections", "impatient", "tenants",
		// bench floods
		"flooders", "messages", "sockets",
		// bench clickhouse
		"events", "rounds", "rows", "days", "queries", "cookbook",
	}
}
