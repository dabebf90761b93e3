package config

import "strings"

// nearest returns the candidate that takes the fewest single-letter changes to become name;
// the first of several. Case and the difference between "-" and "_" do not count.
func nearest(name string, candidates []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
	best, least := "", -1
	for _, candidate := range candidates {
		if d := editDistance(fold(name), fold(candidate)); least < 0 || d < least {
			best, least = candidate, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
