// Command faults does to the real programs what disks, kernels and people do, and checks that
// nothing that was answered is lost without a word. docs/faults.md has the table that it prints.
//
//	go run ./internal/lab/faults run --kills 1000 --corruptions 500 --markdown
//	go run ./internal/lab/faults run --only corruptions --seed 7 --case 123
//	go run ./internal/lab/faults fuzz --time 30m
//
// Every case is drawn from the seed and its own number alone, so that one case repeats without the
// others. What the server must answer is known from package sim, which keeps its own books.
package main
