package clickhouse

import "testing"

// ClickHouse drops a block whose token it knows: no two blocks may have the same one.
func TestTokensTellBlocksApart(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range []*Block{
		{Partition: 0, First: 1, Last: 9}, {Partition: 1, First: 1, Last: 9}, {Partition: 0, First: 1, Last: 99}, {Partition: 0, First: 2, Last: 9},
		{Partition: 11, First: 1, Last: 9}, {Partition: 1, First: 11, Last: 9},
	} {
		for attempt := range 3 {
			token := b.Token(attempt)
			if seen[token] {
				t.Errorf("two blocks, or attempts, are named %s", token)
			}
			seen[token] = true
		}
	}
}
