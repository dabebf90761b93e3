package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Run  runCommand  `cmd:"" help:"Inflict faults on the programs and check what is left."`
	Fuzz fuzzCommand `cmd:"" help:"Run every fuzz target of the repository for a time."`
}

type runCommand struct {
	Only        []string `placeholder:"NAME" help:"Run these only: ${scenarios}."`
	Seed        uint64   `default:"1" help:"Everything that is drawn depends on it."`
	Case        int      `default:"-1" help:"Run this case only, of each that runs."`
	Kills       int      `default:"1000" help:"Times that the server is killed under load."`
	Corruptions int      `default:"500" help:"Damages to the files of a stopped server."`
	Calls       int      `default:"8" help:"For each system call and error: how many places of a start and a short load."`
	Losses      int      `default:"20" help:"Power losses on each file system."`
	Markdown    bool     `help:"Print the table of docs/faults.md."`
	Programs    string   `placeholder:"DIR" help:"Directory with receiptd and receiptctl, built already. Empty: they are built from this tree."`
	Keep        string   `placeholder:"DIR" help:"Directory that keeps the data of the cases that failed."`
}

// Run runs the scenarios one after the other. It fails if a promise was broken.
func (c *runCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "receiptd-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := &lab{
		runCommand: *c, dir: dir, programs: filepath.Join(dir, "bin"), progress: os.Stderr,
	}
	if c.Programs != "" {
		l.programs = c.Programs
	} else if err := build(ctx, l.programs); err != nil {
		return err
	}
	broken := 0
	var rows []row
	for _, s := range scenarios {
		if len(c.Only) > 0 && !slices.Contains(c.Only, s.name) {
			continue
		}
		began := time.Now()
		found, err := l.run(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: done in %s\n", s.name, time.Since(began).Round(time.Second))
		for _, r := range found {
			broken += r.broken
		}
		rows = append(rows, found...)
	}
	print := printPlain
	if c.Markdown {
		print = printMarkdown
	}
	if err := print(os.Stdout, rows); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("%d cases broke a promise", broken)
	}
	return nil
}

// build compiles the programs under test into a directory.
func build(ctx context.Context, into string, flags ...string) error {
	args := append([]string{"build", "-o", into + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/receiptd", "./cmd/receiptctl")...)
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// row is one line of the table: a kind of fault.
type row struct {
	fault, promise string
	cases          int
	seen           string
	broken         int
	command        string
}

func printMarkdown(w io.Writer, rows []row) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, Linux %s\n\n", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, kernel())
	b.WriteString("| fault | promise | cases | what was seen | broken | only this |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %d | `%s` |\n", r.fault, r.promise, r.cases, r.seen, r.broken, r.command)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printPlain(w io.Writer, rows []row) error {
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%s: %d cases, %d broke the promise: %s\n    %s\n", r.fault, r.cases, r.broken, r.promise, r.seen); err != nil {
			return err
		}
	}
	return nil
}

// kernel is the release of the running one.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(text))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&cli{}, kong.Name("faults"), kong.Vars{"scenarios": scenarioNames()}, kong.BindTo(ctx, (*context.Context)(nil)))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		if errors.Is(err, context.Canceled) {
			os.Exit(130)
		}
		os.Exit(1)
	}
}
