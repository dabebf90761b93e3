package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// inputs are those that issue 10 names, by hand and not by chance.
func (l *lab) inputs(ctx context.Context) ([]faultCase, error) {
	x, err := l.makeTemplate(ctx)
	if err != nil {
		return nil, err
	}
	const streams = "log/jetstream/RECEIPTS/streams/"
	list := []struct {
		name, from string
		harm       func(data string) error
		want       []string // what may be seen, by how it begins
	}{
		{"a bit in the middle of a block file", x.killed, flipMiddle(streams + "RECEIPTS_0/msgs/1.blk"), []string{"refused (block_damaged)"}},
		{"the same after a clean stop", x.stopped, flipMiddle(streams + "RECEIPTS_1/msgs/1.blk"), []string{"refused (block_damaged)"}},
		{"an older log below the state", x.stopped, bringBack(x.older, "log"), []string{"refused (log_shorter)"}},
		{"an older log and witness below the state", x.stopped, bringBack(x.older, "log", "witness"), []string{"refused (state_ahead)"}},
		{"log/ is missing", x.killed, removeAll("log"), []string{"refused (stream_missing)"}},
		{"a partition is missing", x.killed, removeAll(streams + "RECEIPTS_1"), []string{"refused (stream_missing)"}},
		{"two partitions swapped", x.killed, func(data string) error {
			return swap(filepath.Join(data, streams+"RECEIPTS_0"), filepath.Join(data, streams+"RECEIPTS_1"))
		}, []string{"refused (meta_damaged)"}},
		{"a bit in the accounts' block", x.killed, flipMiddle(streams + "KV_receiptd_accounts/msgs/1.blk"), []string{"refused (block_damaged)"}},
		{"the accounts' bucket is missing", x.killed, removeAll(streams + "KV_receiptd_accounts"), []string{"refused (stream_missing)"}},
		{"a bad block in every table of the state", x.stopped, flipMiddle("state/p*/*/*.sst"), []string{"healed", "ended by itself, healed", "served"}},
		{"the sink's state is missing", x.killed, removeAll("analytics"), []string{"healed"}},
		{"an older state of the sink", x.stopped, bringBack(x.older, "analytics"), []string{"served", "healed"}},
		{"states of the sink swapped", x.stopped, func(data string) error {
			return swap(filepath.Join(data, "analytics/p000"), filepath.Join(data, "analytics/p001"))
		}, []string{"healed", "served"}},
		{"a bad block in every table of the sink's state", x.stopped, flipMiddle("analytics/p*/*/*.sst"), []string{"healed", "ended by itself, healed", "served"}},
		// These take a minute each.
		{"a bit in the note of the insert that was under way", x.killed, flipMiddle("analytics/p*/INTENT"), []string{"healed"}},
		{"the note is missing", x.killed, removeAll("analytics/p000/INTENT"), []string{"healed"}},
		{"an older note", x.killed, bringBack(x.older, "analytics/p000/INTENT"), []string{"healed"}},
		{"the notes of two partitions swapped", x.killed, func(data string) error {
			return swap(filepath.Join(data, "analytics/p000/INTENT"), filepath.Join(data, "analytics/p001/INTENT"))
		}, []string{"served", "healed"}},
	}
	cases := make([]faultCase, 0, len(list))
	for _, in := range list {
		cases = append(cases, faultCase{in.name, func(ctx context.Context, t *trial) (string, error) {
			s, err := t.damaged(in.from, in.harm)
			if err != nil {
				return "", err
			}
			defer s.sink.Kill()
			seen, err := judge(ctx, s, x.oracle, false)
			if err != nil {
				return "", err
			}
			for _, want := range in.want {
				if strings.HasPrefix(seen, want) {
					return seen, nil
				}
			}
			return "", fmt.Errorf("%s, want one of %q", seen, in.want)
		}})
	}
	return cases, nil
}

// flipMiddle flips a bit in the middle of every file that matches.
func flipMiddle(pattern string) func(data string) error {
	return func(data string) error {
		list, err := filepath.Glob(filepath.Join(data, pattern))
		if err == nil && len(list) == 0 {
			err = fmt.Errorf("nothing matches %s", pattern)
		}
		for _, path := range list {
			content, readErr := os.ReadFile(path)
			if readErr != nil {
				return readErr
			}
			content[len(content)/2] ^= 1
			if err := os.WriteFile(path, content, 0o600); err != nil {
				return err
			}
		}
		return err
	}
}

func bringBack(older string, names ...string) func(data string) error {
	return func(data string) error {
		for _, name := range names {
			if text, err := os.ReadFile(filepath.Join(older, name)); err == nil { // a file
				if err := os.WriteFile(filepath.Join(data, name), text, 0o600); err != nil {
					return err
				}
				continue
			}
			if err := clone(filepath.Join(data, name), filepath.Join(older, name)); err != nil {
				return err
			}
		}
		return nil
	}
}

func removeAll(name string) func(data string) error {
	return func(data string) error { return os.RemoveAll(filepath.Join(data, name)) }
}
