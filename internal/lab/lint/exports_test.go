package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// surface are packages that programs outside the module build on, by the README: their errors and
// limits are for those, whether or not receiptd itself looks at them.
var surface = []string{"events", "events/eventlog", "events/merkle"}

// foreignShape are packages whose names a generator chose, or that only others use.
var foreignShape = []string{"schema/client", "internal/gateway/msync/msyncpb", "internal/lab/e2e/clients"}

// playedAlone is the simulation of the whole, which its own tests drive from within.
const playedAlone = "internal/lab/dst"

// exportedAnyway are names that only their own package uses, and why they are exported.
var exportedAnyway = map[string]string{
	"consumers.TimedHandler": "what a handler may be besides, which docs/DESIGN.md says to whoever writes one",
}

// forTests are functions and methods that only tests use, and why they are there.
var forTests = map[string]string{
	"consumers.FollowAll":            "for a consumer that does not fold, which docs/DESIGN.md says to whoever writes one",
	"events/eventlog.NewTicket":      "for programs that put something else in the place of a log, as their tests do",
	"internal/gateway/easemob.Calls": "by which a test sees that it has tried all of them",
}

// TestExportsAreUsed holds that what a package exports another one uses, if only the package's
// external test, or has in its hands: as the type of something that it uses, or as a value of such
// a type; and that functions and methods are there for more than tests. Fields are left out, since
// encodings and templates use them, and so are methods that an interface has.
func TestExportsAreUsed(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads the whole module with its tests")
	}
	c := newExports()
	for _, module := range []string{root, filepath.Join(root, "internal/lab/peers")} {
		if err := c.read(module); err != nil {
			t.Fatal(err)
		}
	}
	none(t, c.findings())
}

// exports are the exported names of the packages that were read, and who uses them. Whatever is
// read more than once, alone and with its tests, is the same by where it is declared.
type exports struct {
	fset *token.FileSet
	// ours are the packages without their tests.
	ours     map[string]*types.Package
	used     map[token.Position]bool // by another package
	running  map[token.Position]bool // used by code that is none of a test
	declared map[token.Position]types.Object
	methods  map[string]bool // that some interface has
}

func newExports() *exports {
	return &exports{
		fset: token.NewFileSet(), used: map[token.Position]bool{}, running: map[token.Position]bool{}, declared: map[token.Position]types.Object{},
		// Those of package encoding, which nobody imports.
		methods: map[string]bool{"MarshalText": true, "UnmarshalText": true},
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export, ForTest   string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

func goList(dir string, args ...string) (list []listed, err error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,ForTest,GoFiles,TestGoFiles,XTestGoFiles"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go list: %w: %s", err, failed.Stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); err == nil; {
		var p listed
		if err = d.Decode(&p); err == nil {
			list = append(list, p)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return list, err
}

// read reads the packages of a module, and those of this one that it imports: ours from their
// sources, the others as the compiler left them.
func (c *exports) read(dir string) error {
	all, err := goList(dir, "-deps", "-test", "./...")
	if err != nil {
		return err
	}
	var outside []string
	for _, p := range all {
		if p.ForTest == "" && !below(p.ImportPath, module) && p.ImportPath != "unsafe" {
			outside = append(outside, p.ImportPath)
		}
	}
	others, err := goList(dir, append([]string{"-export"}, outside...)...)
	if err != nil {
		return err
	}
	files := map[string]string{}
	for _, p := range others {
		files[p.ImportPath] = p.Export
	}
	compiled := importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	c.ours = map[string]*types.Package{}
	all = slices.DeleteFunc(all, func(p listed) bool {
		return p.ForTest != "" || !below(p.ImportPath, module) || strings.HasSuffix(p.ImportPath, ".test")
	})
	for _, p := range all { // what a package imports comes before it
		if c.ours[p.ImportPath], err = c.check(p.ImportPath, imports{c.ours, compiled}, p.Dir, p.GoFiles); err != nil {
			return err
		}
	}
	for _, p := range all {
		tested := maps.Clone(c.ours)
		if tested[p.ImportPath], err = c.check(p.ImportPath, imports{c.ours, compiled}, p.Dir, p.GoFiles, p.TestGoFiles); err == nil {
			_, err = c.check(p.ImportPath+"_test", imports{tested, compiled}, p.Dir, p.XTestGoFiles)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type imports struct {
	ours   map[string]*types.Package
	others types.Importer
}

// Import implements [types.Importer].
func (i imports) Import(path string) (*types.Package, error) {
	if p := i.ours[path]; p != nil {
		return p, nil
	}
	return i.others.Import(path)
}

// check reads one package. Where a test sees a package together with the tests of that, types
// differ that are the same in truth: such errors are the compiler's to find.
func (c *exports) check(path string, with types.Importer, dir string, files ...[]string) (*types.Package, error) {
	var parsed []*ast.File
	for _, name := range slices.Concat(files...) {
		file, err := parser.ParseFile(c.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: with, Error: func(error) {}}
	p, _ := config.Check(path, c.fset, parsed, info)
	for id, o := range info.Defs {
		if at := c.fset.Position(id.Pos()); o != nil && id.IsExported() && c.counts(p, o, at) {
			c.declared[at] = o
		}
	}
	for id, o := range info.Uses {
		if o.Pkg() != nil && o.Pkg().Path() != path {
			c.used[c.position(o)] = true
		}
		if !strings.HasSuffix(c.fset.Position(id.Pos()).Filename, "_test.go") {
			c.running[c.position(o)] = true
		}
	}
	for _, x := range info.Types {
		if x.IsType() {
			c.interfaces(x.Type)
		}
	}
	for _, other := range p.Imports() {
		for _, name := range other.Scope().Names() {
			if o, ok := other.Scope().Lookup(name).(*types.TypeName); ok {
				c.interfaces(o.Type())
			}
		}
	}
	return p, nil
}

// position is where an object is declared; for one of an instance, where that of the generic type
// is.
func (c *exports) position(o types.Object) token.Position {
	switch x := o.(type) {
	case *types.Func:
		o = x.Origin()
	case *types.Var:
		o = x.Origin()
	}
	return c.fset.Position(o.Pos())
}

// counts reports whether a name is one that has to be used: of a package that can be imported,
// outside its tests, and no field.
func (c *exports) counts(p *types.Package, o types.Object, at token.Position) bool {
	dir := strings.TrimPrefix(p.Path(), module+"/")
	switch {
	case p.Name() == "main", dir == playedAlone, strings.HasSuffix(at.Filename, "_test.go"), slices.ContainsFunc(foreignShape, func(of string) bool { return below(dir, of) }):
		return false
	}
	if f, ok := o.(*types.Func); ok && f.Signature().Recv() != nil {
		return true
	}
	return o.Parent() == p.Scope()
}

func (c *exports) interfaces(t types.Type) {
	if i, ok := t.Underlying().(*types.Interface); ok {
		for m := range i.Methods() {
			c.methods[m.Name()] = true
		}
	}
}

// findings lists the names that nobody else uses.
func (c *exports) findings() (list []string) {
	seen := map[types.Type]bool{}
	for at, o := range c.declared {
		if c.used[at] {
			c.handed(o.Type(), seen)
		}
	}
	for at, o := range c.declared {
		dir := strings.TrimPrefix(o.Pkg().Path(), module+"/")
		name := o.Name()
		f, function := o.(*types.Func)
		method := function && f.Signature().Recv() != nil
		if method {
			name = receiver(f) + "." + name
		}
		_, constant := o.(*types.Const)
		_, variable := o.(*types.Var)
		switch {
		case function && !c.running[at] && c.used[at] && !below(dir, instruments) && !c.methods[o.Name()] && forTests[dir+"."+name] == "":
			list = append(list, fmt.Sprintf("%s: %s is there for tests only", dir, name))
		case c.used[at], method && (c.methods[o.Name()] || !token.IsExported(receiver(f))):
		case constant && c.used[c.typeAt(o.Type())]:
		case (constant || variable) && slices.Contains(surface, dir):
		case exportedAnyway[dir+"."+name] != "":
		default:
			list = append(list, fmt.Sprintf("%s: %s is exported, and only its own package uses it", dir, name))
		}
	}
	slices.Sort(list)
	return list
}

// handed marks as used the types that whoever has a value of a type has in their hands.
func (c *exports) handed(t types.Type, seen map[types.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch x := t.(type) {
	case *types.Alias:
		c.used[c.position(x.Obj())] = true
		c.handed(x.Rhs(), seen)
	case *types.Named:
		if x.Obj().Pkg() == nil || !below(x.Obj().Pkg().Path(), module) {
			return
		}
		c.used[c.position(x.Obj())] = true
		c.handed(x.Underlying(), seen)
		for m := range x.Methods() {
			if m.Exported() {
				c.handed(m.Type(), seen)
			}
		}
		for a := range x.TypeArgs().Types() {
			c.handed(a, seen)
		}
	case *types.Struct:
		for f := range x.Fields() {
			if f.Exported() {
				c.handed(f.Type(), seen)
			}
		}
	case *types.Interface:
		for m := range x.Methods() {
			c.handed(m.Type(), seen)
		}
	case *types.Signature:
		for v := range x.Params().Variables() {
			c.handed(v.Type(), seen)
		}
		for v := range x.Results().Variables() {
			c.handed(v.Type(), seen)
		}
	case *types.Map:
		c.handed(x.Key(), seen)
		c.handed(x.Elem(), seen)
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		c.handed(x.Elem(), seen)
	}
}

// typeAt is where a named type is declared.
func (c *exports) typeAt(t types.Type) token.Position {
	if n, ok := t.(*types.Named); ok {
		return c.position(n.Obj())
	}
	return token.Position{}
}

// receiver is the name of the type that has a method.
func receiver(f *types.Func) string {
	t := f.Signature().Recv().Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}
