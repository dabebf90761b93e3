package analytics

import (
	"log/slog"
	"testing"
)

// Every question of the cookbook is answered in each way that it can be asked, of few rows: a
// question that fails is told within the benchmark's answer, where nobody looks for it.
func TestQuestionsAreAnswered(t *testing.T) {
	r, err := Run(t.Context(), Options{
		Rows: 100_000, Days: 30, Cookbook: "../../../../docs/analytics.md", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Queries.Questions); n < 13 {
		t.Errorf("%d questions were asked", n)
	}
	for _, q := range r.Queries.Questions {
		if q.Failed != "" {
			t.Errorf("%s: %s", q.Question, q.Failed)
		}
		if q.SQL == 0 {
			t.Errorf("%s: there is no example in SQL", q.Question)
		}
	}
}
