package lint

import (
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// Go code in the README stands, line by line, in an example of a package, where it is compiled.
func TestGoCodeOfREADMEIsThatOfExamples(t *testing.T) {
	var examples []string
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, "example_test.go") {
			examples = append(examples, string(read(t, repository, name)))
		}
	}
	readme := string(read(t, repository, "README.md"))
	if !goBlock.MatchString(readme) {
		t.Error("README.md has no example in Go")
	}
	none(t, checkGoBlocks(readme, examples))
	exactly(t, checkGoBlocks("```go\nif err != nil {\n\treturn err\n}\n```\n```go\nreturn log.Wait()\n```\n",
		[]string{"\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n"}), "README.md: no example has return log.Wait()")
}

// checkGoBlocks returns the blocks of code in Go that stand in none of the examples.
func checkGoBlocks(readme string, examples []string) (problems []string) {
	flat := regexp.MustCompile(`(?m)^[\t ]+`)
	for i := range examples {
		examples[i] = flat.ReplaceAllString(examples[i], "")
	}
	for _, block := range goBlock.FindAllStringSubmatch(readme, -1) {
		code := flat.ReplaceAllString(block[1], "")
		if !strings.Contains(strings.Join(examples, "\n"), code) {
			first, _, _ := strings.Cut(code, "\n")
			problems = append(problems, "README.md: no example has "+first)
		}
	}
	return problems
}
