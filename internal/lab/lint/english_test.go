package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWhoIsSomebody holds text and comments to a rule that was broken again and again: where "who"
// stands for nobody named before and asks nothing, it is "whoever", "those who" or "one who".
func TestWhoIsSomebody(t *testing.T) {
	none(t, checkWho(t, repository, written(tracked(t))))
}

// TestPeopleHaveNoGender: an author, a reader or an operator is "they" in what is published. Those
// in the comments of tests have names, and may be who they are.
func TestPeopleHaveNoGender(t *testing.T) {
	none(t, checkGender(t, repository, written(tracked(t))))
}

// written lists the files that have text for people in them: not those of others, generated ones,
// and migrations, which never change once they were applied.
func written(files []string) []string {
	kinds := []string{".md", ".go", ".yaml", ".proto", ".html", ".js", ".mjs", ".ts", ".sh"}
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		return !slices.Contains(kinds, path.Ext(name)) || slices.Contains(strings.Split(name, "/"), "testdata") ||
			strings.Contains(name, ".gen.") || path.Base(name) == "english_test.go"
	})
}

var (
	// afterPreposition is "who" that a preposition needs to be somebody. "Whom" is right there, and
	// so is a variable of that name.
	afterPreposition = regexp.MustCompile(`\b([Ff]or|of|by|to|than|only|from|with|reaches)\s+(?://\s+|#\s+)?who\b(\s*(,|:=))?`)
	// asStatement is a sentence of a paragraph that begins with "Who" and is no question.
	asStatement = regexp.MustCompile("[a-z)`]\\.\\s+(?://\\s+|#\\s+)?Who [^.?:]+\\.")
	gendered    = regexp.MustCompile(`(?i)\b(he|him|his|himself|she|her|herself)\b`)
)

// checkWho returns where "who" is nobody.
func checkWho(t *testing.T, tree fs.FS, files []string) (findings []string) {
	for _, name := range files {
		text := string(read(t, tree, name))
		for _, at := range afterPreposition.FindAllStringSubmatchIndex(text, -1) {
			if variable := at[4] >= 0; !variable {
				findings = append(findings, phrase(name, text, at))
			}
		}
		for _, at := range asStatement.FindAllStringIndex(text, -1) {
			findings = append(findings, phrase(name, text, at))
		}
	}
	return findings
}

// checkGender returns the lines of documents and descriptions in which somebody is "he" or "she".
func checkGender(t *testing.T, tree fs.FS, files []string) (findings []string) {
	for _, name := range files {
		if !slices.Contains([]string{".md", ".yaml", ".proto", ".html"}, path.Ext(name)) {
			continue
		}
		text := string(read(t, tree, name))
		for _, at := range gendered.FindAllStringIndex(text, -1) {
			findings = append(findings, phrase(name, text, at))
		}
	}
	return findings
}

// phrase names a place of a text, by its line, and has what is there in one line.
func phrase(name, text string, at []int) string {
	found := strings.Join(strings.Fields(text[at[0]:at[1]]), " ")
	return fmt.Sprintf("%s:%d: %q", name, 1+strings.Count(text[:at[0]], "\n"), found)
}

func TestWhoThatIsNobodyIsFound(t *testing.T) {
	tree := plant(
		"a.md", "A refusal for who is late.\nOne of whom, of those who came, asks who it is. Who is it?\nTold to\nwho asks. Who asks twice\nwaits.\n",
		"a.go", "package a\n\n// F is called by\n// who needs it: a user who may, or one that knows who may.\nfunc F() {\n\tfor who := range x {\n\t\tfor who, y := range who {\n\t\t}\n\t}\n}\n",
		"a.gen.go", "// for who reads")
	exactly(t, checkWho(t, tree, written([]string{"a.md", "a.go", "a.gen.go"})),
		`a.md:1: "for who"`, `a.md:3: "to who"`, `a.md:4: "s. Who asks twice waits."`, `a.go:3: "by // who"`)
}

func TestGenderIsFound(t *testing.T) {
	tree := plant("a.md", "The author and their messages.\nThe reader has seen his.\n", "b.yaml", "description: Her own\n", "c.go", "package c // Ben has his.\n")
	exactly(t, checkGender(t, tree, written([]string{"a.md", "b.yaml", "c.go"})), `a.md:2: "his"`, `b.yaml:1: "Her"`)
}
