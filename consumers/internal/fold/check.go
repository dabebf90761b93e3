package fold

import (
	"context"
	"errors"

	"github.com/receiptd/receiptd/internal/diskread"
	"github.com/receiptd/receiptd/projections/store"
)

// Check reads the files of a generation in use from the disk against their checksums. use calls a
// function with the generation, and is not held while files are read. A file that is corrupt is
// returned, and the generation's store knows of it, too. The error is for what kept it
// from reading.
func Check(ctx context.Context, pace diskread.Pace, use func(func(*Generation) error) error) (bytes int64, corrupt []*store.CorruptError, err error) {
	var st *store.Store
	var files []string
	if err := use(func(g *Generation) (err error) {
		st = g.Store
		files, err = st.Files()
		return err
	}); err != nil {
		return 0, nil, err
	}
	for _, path := range files {
		n, err := st.CheckFile(ctx, path, pace)
		bytes += n
		if c, ok := errors.AsType[*store.CorruptError](err); ok {
			corrupt = append(corrupt, c)
			continue
		}
		if err != nil {
			return bytes, corrupt, err
		}
	}
	return bytes, corrupt, nil
}
