package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

// documents lists the Markdown files that readers are sent to.
func documents(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		return path.Ext(name) != ".md" || name != "README.md" && !strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "deploy/")
	})
}

func TestDocumentsNameFilesThatExist(t *testing.T) {
	files := tracked(t)
	none(t, checkPaths(t, repository, files, documents(files)))
}

func TestDocumentsNameFlagsThatExist(t *testing.T) {
	flags := slices.Concat(config.Names(), config.ToolNames(), []string{"config", "help"})
	none(t, checkFlags(t, repository, documents(tracked(t)), flags))
}

func TestREADMEHasTwoSetUpCommands(t *testing.T) {
	none(t, checkSetUp(read(t, repository, "README.md")))
}

// maxWords is what a newcomer is asked to read in the README before its appendix.
const maxWords = 1300

func TestREADMEIsShort(t *testing.T) {
	none(t, checkWords(read(t, repository, "README.md")))
}

// checkWords returns whether the README has too many words before its appendix, counted as wc does.
func checkWords(readme []byte) []string {
	text, _, _ := strings.Cut("\n"+string(readme), "\n## Appendix")
	if n := len(strings.Fields(text)); n > maxWords {
		return []string{fmt.Sprintf("README.md: %d words before the appendix, at most %d", n, maxWords)}
	}
	return nil
}

// code is a piece of code in a Markdown text.
type code struct {
	line   int
	text   string
	fenced bool
}

var inlineCode = regexp.MustCompile("`([^`]+)`")

// codeIn lists the inline code and the lines of the fenced blocks of a text. A line that ends with
// a backslash goes on in the next.
func codeIn(text string) (list []code) {
	fenced, joined := false, ""
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced, joined = !fenced, ""
			continue
		}
		if !fenced {
			for _, match := range inlineCode.FindAllStringSubmatch(line, -1) {
				list = append(list, code{i + 1, match[1], false})
			}
			continue
		}
		if before, ok := strings.CutSuffix(line, "\\"); ok {
			joined += before
			continue
		}
		list = append(list, code{i + 1, joined + line, true})
		joined = ""
	}
	return list
}

// pathLike matches what could only be a path; not one with a wildcard or a part left out.
var pathLike = regexp.MustCompile(`^(\./)?[\w.-]+(/[\w.-]+)*/?$`)

// checkPaths returns the paths in the documents' code that do not exist: inline code whose first
// part is a directory of the repository or that is the name of a file at its top, and "./…" in
// a command.
func checkPaths(t *testing.T, tree fs.FS, files, documents []string) (findings []string) {
	top := map[string]bool{}
	for _, name := range files {
		first, _, nested := strings.Cut(name, "/")
		top[first] = nested
	}
	for _, document := range documents {
		for _, c := range codeIn(string(read(t, tree, document))) {
			for word := range strings.FieldsSeq(c.text) {
				word = strings.TrimSuffix(word, "/...")
				if c.fenced && !strings.HasPrefix(word, "./") || !pathLike.MatchString(word) {
					continue
				}
				name := path.Clean(word)
				first, _, nested := strings.Cut(name, "/")
				directory, known := top[first]
				if !known || directory != (nested || strings.HasSuffix(word, "/")) || exists(tree, name) {
					continue
				}
				findings = append(findings, fmt.Sprintf("%s:%d: there is no %s", document, c.line, name))
			}
		}
	}
	return findings
}

// exists reports whether a name is a file or a directory, or a Go file without its ending.
func exists(tree fs.FS, name string) bool {
	for _, candidate := range []string{name, name + ".go"} {
		if _, err := fs.Stat(tree, candidate); err == nil {
			return true
		}
	}
	return false
}

var flagLike = regexp.MustCompile(`(^|[\s\[(|])--([a-z][\w-]*)`)

// ourCommand matches a command line of one of the two programs.
var ourCommand = regexp.MustCompile(`(^|[\s/;&|(])receipt(d|ctl)(\s|$)`)

// checkFlags returns the flags in the documents that no program of ours has. Flags of other
// programs, such as curl's, are seen by the command they stand with: inline code that begins with a
// flag is ours.
func checkFlags(t *testing.T, tree fs.FS, documents, flags []string) (findings []string) {
	for _, document := range documents {
		for _, c := range codeIn(string(read(t, tree, document))) {
			ours := ourCommand.FindStringIndex(c.text)
			switch {
			case ours == nil && (c.fenced || !strings.HasPrefix(c.text, "--")):
				continue
			case ours != nil:
				c.text = firstCommand(c.text[ours[0]:])
			}
			for _, match := range flagLike.FindAllStringSubmatch(c.text, -1) {
				if !slices.Contains(flags, match[2]) {
					findings = append(findings, fmt.Sprintf("%s:%d: there is no flag --%s", document, c.line, match[2]))
				}
			}
		}
	}
	return findings
}

// firstCommand cuts a shell line at the first thing that ends a command: a pipe, a list, a comment.
// What is before a command has been cut already.
func firstCommand(line string) string {
	line = strings.TrimLeft(line, " \t/;&|(")
	if i := regexp.MustCompile(`\s(\||&&?|;|#)\s`).FindStringIndex(line); i != nil {
		return line[:i[0]]
	}
	return line
}

// checkSetUp returns what is wrong with the README's section "Set up": it has one block of exactly
// two commands.
func checkSetUp(readme []byte) []string {
	_, section, found := strings.Cut("\n"+string(readme), "\n## Set up\n")
	if !found {
		return []string{`README.md: no section "Set up"`}
	}
	section, _, _ = strings.Cut(section, "\n## ")
	if blocks := strings.Count(section, "\n```"); blocks != 2 {
		return []string{fmt.Sprintf("README.md: Set up has %d fences, want those of one block", blocks)}
	}
	var commands []string
	for _, c := range codeIn(section) {
		if text := strings.TrimSpace(c.text); c.fenced && text != "" && !strings.HasPrefix(text, "#") {
			commands = append(commands, text)
		}
	}
	if len(commands) != 2 {
		return []string{fmt.Sprintf("README.md: Set up has %d commands, want two: %q", len(commands), commands)}
	}
	return nil
}

func TestMissingFilesAreFound(t *testing.T) {
	tree := plant("go.mod", "", "events/kind.go", "", "docs/a.md", "See `events/kind.go`, `events/kind`, `events/`, `go.mod`, `org/app`, `events/*.go`,\n"+
		"`events/gone.go`, `go run ./events/x`, `docs/`, `data`,\n```sh\ngo run ./events\ngo test ./events/... ./events/none/...\nls events/nothing\n```\n")
	exactly(t, checkPaths(t, tree, []string{"go.mod", "events/kind.go", "docs/a.md"}, []string{"docs/a.md"}),
		"docs/a.md:2: there is no events/gone.go", "docs/a.md:2: there is no events/x", "docs/a.md:5: there is no events/none")
}

func TestUnknownFlagsAreFound(t *testing.T) {
	tree := plant("README.md", "Use `--data DIR`, `--date`, `curl --silent`, `receiptctl verify --quick`.\n```sh\n"+
		"go run ./cmd/receiptd --data x --port 1 | grep --color y\ncurl --fail http://x/receiptd --data z\nreceiptctl tail \\\n  --wait\n```\n")
	exactly(t, checkFlags(t, tree, []string{"README.md"}, []string{"data"}),
		"README.md:1: there is no flag --date", "README.md:1: there is no flag --quick",
		"README.md:3: there is no flag --port", "README.md:6: there is no flag --wait")
}

func TestSetUpWithOtherThanTwoCommandsIsFound(t *testing.T) {
	none(t, checkSetUp([]byte("# x\n\n## Set up\n\nText `code`.\n\n```sh\n# first\ngo mod download\ngo test \\\n  ./...\n```\n\n## Next\n\n```\na\n```\n")))
	for text, want := range map[string]string{
		"# x\n":                            `no section`,
		"## Set up\n\nNothing.\n":          "0 fences",
		"## Set up\n\n```\na\n```\n":       "1 commands",
		"## Set up\n\n```\na\nb\nc\n```\n": "3 commands",
		"## Set up\n\n```\na\n```\n\n```\nb\n```\n\n## Next\n": "4 fences",
	} {
		exactly(t, checkSetUp([]byte(text)), want)
	}
}

func TestLongREADMEIsFound(t *testing.T) {
	words := strings.Repeat("word ", maxWords-1)
	none(t, checkWords([]byte("x\n"+words)))
	none(t, checkWords([]byte("x\n"+words+"\n\n## Appendix: more\n\n"+words)))
	exactly(t, checkWords([]byte("x y\n"+words)), "1301 words")
}
