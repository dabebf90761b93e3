// Command scaling computes the tables of docs/scaling.md: what so many users take of receiptd, by
// measured costs and stated assumptions (model.go), and what becomes of the planned nodes at peak
// when one of them is away and comes back (simulate.go). It prints them; go test -update puts them
// into the document.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprint(out, Tables())
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
