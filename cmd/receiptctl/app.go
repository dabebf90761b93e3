package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/internal/ctl"
)

// appCommands are what concerns apps.
type appCommands struct {
	List      appListCommand      `cmd:"" help:"List the apps."`
	Show      appShowCommand      `cmd:"" help:"Print the settings of an app."`
	Configure appConfigureCommand `cmd:"" help:"Make an app, or change its settings."`
}

// Help is the long description of the command.
func (appCommands) Help() string {
	return `For example: receiptctl app configure --app acme/chat group_receipts.enabled=true`
}

// appListCommand lists the apps.
type appListCommand struct {
	JSON bool `name:"json" help:"Print the list as JSON, and nothing else."`
}

// Run asks and prints.
func (c appListCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	apps, err := client.Apps(ctx)
	if err != nil {
		return explain(err)
	}
	if apps == nil {
		apps = []string{}
	}
	return show(std.out, c.JSON, &apps, func(w io.Writer, apps *[]string) (err error) {
		for _, app := range *apps {
			if _, err = fmt.Fprintln(w, ctl.TerminalSafe(app)); err != nil {
				break
			}
		}
		return err
	})
}

// appShowCommand prints settings.
type appShowCommand struct {
	inApp
	JSON bool `name:"json" help:"Print the server's answer as it is."`
}

// Run asks and prints.
func (c appShowCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	_, err := ask(ctx, target, std, c.of("GET", c.JSON), printSettings)
	return err
}

// appConfigureCommand changes settings.
type appConfigureCommand struct {
	inApp
	Settings []string `arg:"" optional:"" placeholder:"SETTING=VALUE" help:"What to change, as app show prints it. An app that does not exist yet gets the defaults for the rest."`
	JSON     bool     `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (appConfigureCommand) Help() string {
	return `For example: receiptctl app configure group_receipts.enabled=true group_receipts.validity=24h

What is not named keeps its value. Prints the settings in force, for every event from now on.`
}

// Run changes and prints.
func (c appConfigureCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	change, err := fields(c.Settings, settingValue)
	if err != nil {
		return err
	}
	q := c.of("PUT", c.JSON)
	q.in = change
	_, err = ask(ctx, target, std, q, printSettings)
	return err
}

// printSettings prints settings as configure takes them.
func printSettings(w io.Writer, settings *map[string]any) error {
	var rows []string
	var add func(prefix string, object map[string]any) error
	add = func(prefix string, object map[string]any) error {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			switch value := object[name].(type) {
			case map[string]any:
				if err := add(prefix+name+".", value); err != nil {
					return err
				}
			case string:
				rows = append(rows, columns(prefix+name, value))
			default:
				var text strings.Builder
				e := json.NewEncoder(&text)
				e.SetEscapeHTML(false)
				if err := e.Encode(value); err != nil {
					return fmt.Errorf("print %s: %w", prefix+name, err)
				}
				rows = append(rows, columns(prefix+name, strings.TrimSpace(text.String())))
			}
		}
		return nil
	}
	if err := add("", *settings); err != nil {
		return err
	}
	return table(w, "SETTING\tVALUE", rows)
}
