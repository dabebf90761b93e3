package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// prefix starts the name of every environment variable of receiptd and receiptctl.
const prefix = "RECEIPTD_"

// fileFlag is the flag that names the configuration file. It is no setting of the file itself.
const fileFlag = "config"

// Program is a command line whose flags are also environment variables and keys of a file.
type Program struct {
	Name, Description string
	// Foreign are the flags of programs that share the file and the environment with this one:
	// here their keys and variables have no effect, but are not unknown either.
	Foreign []string
}

// Sources says for each setting where its value comes from: "default", "receiptd.yaml:3",
// "RECEIPTD_LISTEN" or "--listen".
type Sources map[string]string

// sourceDefault is the source of a setting that nobody set.
const sourceDefault = "default"

// Parse reads args (without the program's name) and environ (as [os.Environ] gives it) into cli, a
// pointer to a struct with kong tags. The file is named by the flag --config or RECEIPTD_CONFIG if
// cli has that flag. What the Validate methods of cli and of the structs embedded in it return is a
// problem like any other.
//
// A command line that cannot be understood gives a [*kong.ParseError]. Anything wrong with the
// values gives [Problems], beside the context and the sources, so that a command that needs no
// configuration can still run.
func (p Program) Parse(cli any, args, environ []string, options ...kong.Option) (*kong.Context, Sources, error) {
	r := &reader{program: p, environ: variables(environ), sources: Sources{}}
	options = append([]kong.Option{
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110, FlagsLast: true}),
		kong.ValueFormatter(describe),
		kong.PostBuild(r.collectProblems),
		kong.Resolvers(r),
	}, options...)
	parser, err := kong.New(cli, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("config: build the command line: %w", err)
	}
	ctx, err := parser.Parse(args)
	var invalid Problems
	if err != nil {
		var parseError *kong.ParseError
		if !errors.As(err, &invalid) || !errors.As(err, &parseError) {
			return nil, nil, err
		}
		ctx = parseError.Context
	}
	for _, path := range ctx.Path {
		if path.Flag != nil && !path.Resolved {
			r.sources[path.Flag.Name] = "--" + path.Flag.Name
		}
	}
	r.addInvalid(invalid)
	return ctx, r.sources, r.problems.err()
}

// variables turns a list of NAME=VALUE into a map of those with our prefix.
func variables(environ []string) map[string]string {
	m := map[string]string{}
	for _, line := range environ {
		if name, value, _ := strings.Cut(line, "="); strings.HasPrefix(name, prefix) {
			m[name] = value
		}
	}
	return m
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// describe is the help of a flag with its default and its variable.
func describe(v *kong.Value) string {
	if v.Flag == nil || v.Name == "help" {
		return v.Help
	}
	notes := variable(v.Name)
	if v.HasDefault {
		notes = "default " + v.Default + "; " + notes
	}
	return v.Help + " (" + notes + ")"
}

// reader resolves flags that are not on the command line, and collects what is wrong.
type reader struct {
	program  Program
	environ  map[string]string
	file     map[string]fileValue
	loaded   bool
	sources  Sources
	problems Problems
}

// Validate is part of kong.Resolver. Unknown names are found when the sources are read.
func (r *reader) Validate(*kong.Application) error { return nil }

// Resolve is part of kong.Resolver: the value of a flag in the environment, or else in the file.
func (r *reader) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !r.loaded {
		r.loaded = true
		r.load(ctx)
	}
	if flag.Name == "help" {
		return nil, nil
	}
	if value, ok := r.environ[variable(flag.Name)]; ok {
		r.sources[flag.Name] = variable(flag.Name)
		return value, nil
	}
	if value, ok := r.file[flag.Name]; ok {
		r.sources[flag.Name] = value.source
		return value.text, nil
	}
	r.sources[flag.Name] = sourceDefault
	return nil, nil
}

// load reads the file and looks for names that nobody knows.
func (r *reader) load(ctx *kong.Context) {
	known := append(flagNames(ctx.Model), r.program.Foreign...)
	r.checkVariables(known)
	for _, flag := range ctx.Model.Flags {
		if flag.Name != fileFlag {
			continue
		}
		path, _ := ctx.FlagValue(flag).(string)
		if path == "" {
			path = r.environ[variable(fileFlag)]
		}
		if path != "" {
			r.readFile(path, known)
		}
	}
}

// flagNames lists the flags of a program and of its commands, each once.
func flagNames(app *kong.Application) []string {
	var names []string
	seen := map[string]bool{"help": true}
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && !seen[flag.Name] {
			seen[flag.Name] = true
			names = append(names, flag.Name)
		}
		return next(nil)
	})
	return names
}

// addInvalid adds the problems that validation found, with their sources.
func (r *reader) addInvalid(found Problems) {
	for _, problem := range found {
		if r.problems.of(problem.Setting) {
			continue // its text could not even be read
		}
		problem.Source = r.origin(problem.Setting)
		r.problems = append(r.problems, problem)
	}
}

// of reports whether one of the problems is of the setting.
func (p Problems) of(setting string) bool {
	for _, problem := range p {
		if problem.Setting == setting {
			return true
		}
	}
	return false
}

// origin is the source of a setting as a Problem names it.
func (r *reader) origin(setting string) string {
	switch source := r.sources[setting]; source {
	case sourceDefault, "--" + setting:
		return ""
	default:
		return source
	}
}

// collectProblems has every flag note a value that cannot be decoded, instead of ending the parse
// at the first.
func (r *reader) collectProblems(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && flag.Name != "help" {
			flag.Mapper = collecting{flag.Mapper, r}
		}
		return next(nil)
	})
}

// collecting is a mapper that notes a bad value as a problem and leaves the target alone.
type collecting struct {
	kong.Mapper
	reader *reader
}

// Decode is part of kong.Mapper.
func (c collecting) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	given := ctx.Scan.Peek().IsValue()
	err := c.Mapper.Decode(ctx, target)
	if err == nil || !given {
		return err // a missing value is for the command line's own error
	}
	setting := ctx.Value.Name
	c.reader.problems = append(c.reader.problems, Problem{
		Setting: setting, Source: c.reader.origin(setting), Reason: err.Error(),
	})
	return nil
}
