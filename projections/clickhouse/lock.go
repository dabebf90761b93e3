package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// ClickHouse has no locks, but if several clients make the same table, only one of them succeeds.
// So the lock is a table. One that its holder left behind is followed by another with the next
// number; the last one holds.
const (
	lockPrefix = "migrating_"
	// The holder says every lockBeat that it is alive, by changing the comment: ClickHouse keeps
	// the time of that. One that has said nothing for lockStale must have died. If it has not, two
	// of them apply the same statements, which does no harm.
	lockBeat  = time.Second
	lockStale = 8 * time.Second
	lockRetry = 200 * time.Millisecond

	codeTableExists = 57
)

// lock waits until it holds the lock, and passes over locks whose holder has said nothing for
// stale. release gives it back.
func (s *Store) lock(ctx context.Context, stale time.Duration) (release func() error, err error) {
	mine := rand.Text()
	for {
		last, fresh, err := s.locks(ctx, stale)
		if err != nil {
			return nil, err
		}
		if !fresh {
			number := last + 1
			err := s.conn.Exec(ctx, fmt.Sprintf(
				"CREATE TABLE %s%d (nothing UInt8) ENGINE = Null COMMENT '%s'", lockPrefix, number, mine))
			if err == nil {
				stop := s.beat(ctx, number, mine)
				return func() error {
					stop()
					return s.unlock(ctx, number)
				}, nil
			}
			if e, ok := errors.AsType[*clickhouse.Exception](err); !ok || e.Code != codeTableExists {
				// The table may have been made all the same, and would keep everybody waiting.
				return nil, errors.Join(err, s.unlockIfMine(ctx, number, mine))
			}
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
			return nil, fmt.Errorf("another receiptd migrates the tables: %w", ctx.Err())
		}
	}
}

// beat keeps the lock fresh until it is stopped. A beat that fails is no matter: the next one makes
// up for it.
func (s *Store) beat(ctx context.Context, number int32, mine string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lockBeat)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-tick.C:
				_ = s.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s%d MODIFY COMMENT '%s %d'", lockPrefix, number, mine, n))
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// unlockIfMine drops a lock that nobody else holds.
func (s *Store) unlockIfMine(ctx context.Context, number int32, mine string) error {
	looking, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	var made uint8
	row := s.conn.QueryRow(looking, fmt.Sprintf("SELECT count() > 0 FROM system.tables WHERE "+hereAnd+
		"name = '%s%d' AND comment = '%s'", lockPrefix, number, mine))
	if err := row.Scan(&made); err != nil || made == 0 {
		return err
	}
	return s.unlock(ctx, number)
}

// locks returns the largest number of a lock, -1 if there is none, and whether its holder may be
// alive.
func (s *Store) locks(ctx context.Context, stale time.Duration) (last int32, fresh bool, err error) {
	var young uint8
	row := s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT number, toUInt8(age < %d) FROM
		(SELECT toInt32OrZero(substring(name, %d)) AS number, toInt64(now() - metadata_modification_time) AS age
			FROM system.tables WHERE `+hereAnd+`startsWith(name, '%s')
		UNION ALL SELECT toInt32(-1), toInt64(%[1]d))
		ORDER BY number DESC LIMIT 1`, int(stale.Seconds()), len(lockPrefix)+1, lockPrefix))
	if err := row.Scan(&last, &young); err != nil {
		return 0, false, fmt.Errorf("look for locks: %w", err)
	}
	return last, young == 1, nil
}

// unlock drops the lock, after the ones before it, which nobody holds.
func (s *Store) unlock(ctx context.Context, number int32) error {
	ctx, cancel := s.bounded(context.WithoutCancel(ctx))
	defer cancel()
	for n := range number + 1 {
		if err := s.conn.Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %s%d SYNC", lockPrefix, n)); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
	}
	return nil
}
