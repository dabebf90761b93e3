package fold

import (
	"context"
	"testing"
	"time"
)

const app = "acme#chat"

// testContext bounds a test that waits for something that never comes.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
