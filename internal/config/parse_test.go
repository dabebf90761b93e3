package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// testCLI has the shape of the server's command line.
type testCLI struct {
	Config   string   `help:"Configuration file."`
	Settings Config   `embed:""`
	Serve    struct{} `cmd:"" default:"1"`
	Show     struct{} `cmd:""`
}

func parse(t *testing.T, args []string, environ ...string) (testCLI, Sources, error) {
	t.Helper()
	var cli testCLI
	program := Program{Name: "receiptd", Foreign: ToolNames()}
	_, sources, err := program.Parse(&cli, args, environ, kong.Exit(func(int) { t.Fatal("exit") }))
	return cli, sources, err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receiptd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	cli, _, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cli.Settings != Default() {
		t.Errorf("an empty command line gives %+v, Default() %+v", cli.Settings, Default())
	}
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	path := writeFile(t, "fsync: interval\nlog-level: warn\npartitions: 3\ncheckpoint-interval:\n")
	cli, sources, err := parse(t,
		[]string{"--config", path, "show", "--log-level=debug"},
		"RECEIPTD_LOG_LEVEL=error", "RECEIPTD_PARTITIONS=4", "RECEIPTD_SERVER=http://elsewhere", "HOME=/")
	if err != nil {
		t.Fatal(err)
	}
	c := cli.Settings
	if c.Logging.Level != "debug" || c.Log.Partitions != 4 || c.Log.Fsync != FsyncInterval ||
		c.State.CheckpointInterval != time.Second {
		t.Errorf("got %+v", c)
	}
	for setting, want := range map[string]string{
		"log-level": "--log-level", "partitions": "RECEIPTD_PARTITIONS",
		"fsync": "receiptd.yaml:1", "listen": "default", "checkpoint-interval": "default",
	} {
		if got := sources[setting]; got != want {
			t.Errorf("source of %s: %q, want %q", setting, got, want)
		}
	}
}

func TestFileNamedByEnvironment(t *testing.T) {
	path := writeFile(t, "listen: 127.0.0.1:0\n")
	cli, _, err := parse(t, nil, "RECEIPTD_CONFIG="+path)
	if err != nil {
		t.Fatal(err)
	}
	if got := cli.Settings.HTTP.Listen; got != "127.0.0.1:0" {
		t.Errorf("listen is %q", got)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	path := writeFile(t, "lissten: 1.2.3.4:5\ncache_size: 1GiB\nconfig: x\nfsync: [always]\npartitions: many\nlog-format: xml\n")
	_, _, err := parse(t, []string{"--max-body=huge", "--shutdown-timeout=-1s"},
		"RECEIPTD_CONFIG="+path, "RECEIPTD_LISTENN=:1", "RECEIPTD_CHECKPOINT_INTERVAL=soon", "RECEIPTD_NATS_LISTEN=:4222")
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	want := []string{
		`RECEIPTD_LISTENN: unknown variable; the nearest is RECEIPTD_LISTEN`,
		`receiptd.yaml:1: unknown key "lissten"; the nearest is "listen"`,
		`receiptd.yaml:2: unknown key "cache_size"; the nearest is "cache-size"`,
		`receiptd.yaml:3: unknown key "config"; the nearest is "copies"`,
		`receiptd.yaml:4: fsync must have one plain value`,
		`--partitions (from receiptd.yaml:5): expected a valid 64 bit int but got "many"`,
		`--max-body: not a size like 256MiB: "huge"`,
		`--checkpoint-interval (from RECEIPTD_CHECKPOINT_INTERVAL): expected duration but got "soon"`,
		`--log-format (from receiptd.yaml:6): "xml" is not one of text, json`,
		`--nats-listen (from RECEIPTD_NATS_LISTEN): needs --nats-password`,
		`--shutdown-timeout: -1s is not between 1ms and 1h0m0s`,
	}
	for _, line := range want {
		if !strings.Contains(err.Error(), "\n  "+line) {
			t.Errorf("missing: %s", line)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems, want %d:\n%v", len(problems), len(want), err)
	}
}

func TestBadFile(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not YAML":    {"listen: [", "--config: read "},
		"not a map":   {"- listen\n", "--config: read "},
		"a key twice": {"data: a\ndata: b\n", "already defined"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(t, []string{"--config", writeFile(t, test.text)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		if _, _, err := parse(t, []string{"--config", writeFile(t, "# nothing\n")}); err != nil {
			t.Error(err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		_, _, err := parse(t, nil, "RECEIPTD_CONFIG="+filepath.Join(t.TempDir(), "none.yaml"))
		if err == nil || !strings.Contains(err.Error(), "--config (from RECEIPTD_CONFIG): open ") {
			t.Errorf("got %v", err)
		}
	})
}

func TestBadCommandLineIsAParseError(t *testing.T) {
	for _, args := range [][]string{{"--lissten", ":1"}, {"start"}, {"--listen"}} {
		_, _, err := parse(t, args)
		var parseError *kong.ParseError
		if !errors.As(err, &parseError) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestProblemsLeaveTheContext(t *testing.T) {
	var cli testCLI
	ctx, _, err := Program{Name: "receiptd"}.Parse(&cli, []string{"show"}, []string{"RECEIPTD_WRONG=1"})
	if err == nil || ctx == nil || ctx.Command() != "show" {
		t.Errorf("got %v, %v", ctx, err)
	}
}

func TestHelpNamesDefaultAndVariable(t *testing.T) {
	var out bytes.Buffer
	var cli testCLI
	exited := false
	program := Program{Name: "receiptd", Description: "Receipts."}
	_, _, _ = program.Parse(&cli, []string{"--help"}, nil, kong.Writers(&out, &out), kong.Exit(func(int) { exited = true }))
	if !exited {
		t.Error("did not exit")
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"Receipt log:", "--cache-size=SIZE", "(default 256MiB; RECEIPTD_CACHE_SIZE)", "RECEIPTD_CONFIG"} {
		if !strings.Contains(text, want) {
			t.Errorf("help has no %q:\n%s", want, out.String())
		}
	}
}
