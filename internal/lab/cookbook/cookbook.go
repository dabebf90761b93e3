// Package cookbook reads the questions and examples of docs/analytics.md, so that what is asked of
// them, by tests and by the benchmark, is what stands there.
package cookbook

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Question is a row of the table of questions: what is asked, and how. What cannot be asked in a
// way is empty there.
type Question struct {
	Name string
	// API is the query of GET …/analytics/read-rate.
	API string
	// Page is the query of the page's address, without the app.
	Page string
	// Recipe is the title of the example in SQL.
	Recipe string
}

// Recipe is an example in SQL.
type Recipe struct {
	Title string
	// Statements are those before the last one, which asks.
	Statements []string
	Query      string
}

var (
	row   = regexp.MustCompile(`(?m)^\| ([^|]+) \| (?:([^|]*) )?\| (?:([^|]*) )?\| (?:([^|]*) )?\|$`)
	quote = regexp.MustCompile("^`([^`]+)`")
	title = regexp.MustCompile("(?s)\n### ([^\n]+)\n(?:[^#]*?)```sql\n(.*?)```")
)

// Read reads a document.
func Read(path string) (questions []Question, recipes []Recipe, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the cookbook: %w", err)
	}
	for _, m := range row.FindAllStringSubmatch(section(text, "Questions, and who answers them"), -1) {
		if m[1] != "question" && m[1] != "---" {
			questions = append(questions, Question{m[1], quoted(m[2]), quoted(m[3]), m[4]})
		}
	}
	for _, m := range title.FindAllStringSubmatch(section(text, "Cookbook"), -1) {
		statements := strings.Split(m[2], ";\n")
		last := len(statements) - 1
		recipes = append(recipes, Recipe{m[1], statements[:last], statements[last]})
	}
	return questions, recipes, nil
}

// section is what stands below a heading.
func section(text []byte, heading string) string {
	_, found, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	found, _, _ = strings.Cut(found, "\n## ")
	return "\n" + found
}

// quoted is the code that a cell begins with.
func quoted(cell string) string {
	if m := quote.FindStringSubmatch(cell); m != nil {
		return m[1]
	}
	return ""
}
