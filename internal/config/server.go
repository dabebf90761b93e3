package config

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Server reads the configuration of a server as the server itself does, for a tool: from a file,
// which may be empty for none, the environment and the server's flags. The error is as
// [Program.Parse] has it; what could be read is there beside [Problems].
func Server(file string, flags, environ []string) (Config, Sources, error) {
	var cli struct {
		Config   string
		Settings Config   `embed:""`
		Serve    struct{} `cmd:"" default:"1"`
	}
	if file != "" {
		flags = append([]string{"--" + fileFlag + "=" + file}, flags...)
	}
	_, sources, err := Program{Name: "receiptd", Foreign: ToolNames()}.Parse(&cli, flags, environ, kong.NoDefaultHelp())
	return cli.Settings, sources, err
}

// Setting is a setting that is not left at its default.
type Setting struct {
	Name string `json:"name"`
	// Value is masked if it is a secret.
	Value string `json:"value"`
	// Source is where it was set.
	Source string `json:"source"`
}

// Given lists the settings that are not left at their defaults, in the order of their help.
func (c Config) Given(sources Sources) (list []Setting) {
	for _, flag := range settings(&c) {
		if source := sources[flag.Name]; source != "" && source != sourceDefault {
			list = append(list, Setting{flag.Name, fmt.Sprint(shown(flag.Target)), source})
		}
	}
	return list
}
