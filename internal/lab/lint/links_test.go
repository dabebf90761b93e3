package lint

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

func TestLinksLeadSomewhere(t *testing.T) {
	none(t, checkLinks(t, repository, markdown(tracked(t))))
}

var (
	inlineLink    = regexp.MustCompile(`\[[^\[\]]*\]\(\s*([^()\s]+)(?:\s+"[^"]*")?\s*\)`)
	linkReference = regexp.MustCompile(`(?m)^\s{0,3}\[[^\]]+\]:\s+(\S+)`)
	withScheme    = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// checkLinks returns the relative links of the documents, pictures among them, that lead to no file
// of the tree or to no heading of a document. Links to elsewhere are not followed.
func checkLinks(t *testing.T, tree fs.FS, documents []string) (findings []string) {
	for _, document := range documents {
		text := inlineCode.ReplaceAllStringFunc(strings.Join(prose(string(read(t, tree, document))), "\n"),
			func(code string) string { return strings.Repeat("x", len(code)) })
		for _, pattern := range []*regexp.Regexp{inlineLink, linkReference} {
			for _, at := range pattern.FindAllStringSubmatchIndex(text, -1) {
				target := text[at[2]:at[3]]
				if withScheme.MatchString(target) {
					continue
				}
				if problem := followLink(t, tree, document, target); problem != "" {
					line := 1 + strings.Count(text[:at[2]], "\n")
					findings = append(findings, fmt.Sprintf("%s:%d: %s: %s", document, line, target, problem))
				}
			}
		}
	}
	return findings
}

// followLink says what is wrong with a relative link, if anything is.
func followLink(t *testing.T, tree fs.FS, document, target string) string {
	name, anchor, anchored := strings.Cut(target, "#")
	if name == "" {
		name = document
	} else {
		name = path.Join(path.Dir(document), name)
	}
	if !fs.ValidPath(name) {
		return "outside of the repository"
	}
	if _, err := fs.Stat(tree, name); err != nil {
		return "there is no such file"
	}
	if !anchored || path.Ext(name) != ".md" {
		return ""
	}
	for _, there := range anchors(string(read(t, tree, name))) {
		if there == anchor {
			return ""
		}
	}
	return "there is no such heading"
}

// anchors lists the fragments that GitHub makes of a document's headings.
func anchors(text string) (list []string) {
	seen := map[string]int{}
	for _, line := range prose(text) {
		heading := strings.TrimLeft(line, "#")
		if depth := len(line) - len(heading); depth == 0 || depth > 6 || !strings.HasPrefix(heading, " ") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(linkTarget.ReplaceAllString(heading, "]")))
		n := seen[anchor]
		seen[anchor]++
		if n > 0 {
			anchor = fmt.Sprintf("%s-%d", anchor, n)
		}
		list = append(list, anchor)
	}
	return list
}

func TestDeadLinksAreFound(t *testing.T) {
	tree := plant(
		"README.md", "# One\n\n[a](docs/a.md) [b](docs/b.md) [web](https://example.org/x) [mail](mailto:a@example.org)\n"+
			"[folder](docs) ![picture](docs/a.png) `[code](none.md)` [`code`](docs/a.md#the-code-of-it)\n"+
			"[in two\nlines](gone.md)\n\n```\n[fenced](none.md)\n```\n[below](#one-1) [nowhere](#two)\n\n# One\n\n[up](../x.md)\n\n[ref]: docs/c.md\n",
		"docs/a.md", "## The `code` of it!\n\n[back](../README.md#one) [wrong](a.md#other) [wrong](../README.md#oNe)\n",
		"docs/a.png", "")
	exactly(t, checkLinks(t, tree, []string{"README.md", "docs/a.md"}),
		"README.md:3: docs/b.md: there is no such file", "README.md:6: gone.md: there is no such file",
		"README.md:11: #two: there is no such heading", "README.md:15: ../x.md: outside of the repository",
		"README.md:17: docs/c.md: there is no such file",
		"docs/a.md:3: a.md#other: there is no such heading", "docs/a.md:3: ../README.md#oNe: there is no such heading")
}
