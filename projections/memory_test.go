package projections_test

import (
	"slices"
	"strings"

	"github.com/receiptd/receiptd/projections"
)

// memory is a backing in memory: the committed state of a partition.
type memory map[string]string

func (m memory) Get(key []byte) ([]byte, error) {
	v, ok := m[string(key)]
	if !ok {
		return nil, nil
	}
	return []byte(v), nil
}

func (m memory) Scan(prefix []byte, f func(key, value []byte) error) error {
	return m.each(func(k string) bool { return strings.HasPrefix(k, string(prefix)) }, f)
}

func (m memory) Range(first, end []byte, f func(key, value []byte) error) error {
	return m.each(func(k string) bool { return string(first) <= k && k < string(end) }, f)
}

func (m memory) each(in func(key string) bool, f func(key, value []byte) error) error {
	var keys []string
	for k := range m {
		if in(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := f([]byte(k), []byte(m[k])); err != nil {
			return err
		}
	}
	return nil
}

// commit writes a checkpoint.
func (m memory) commit(c *projections.Checkpoint) error {
	return c.Each(func(key, value []byte) error {
		m[string(key)] = string(value)
		return nil
	}, func(key []byte) error {
		delete(m, string(key))
		return nil
	})
}

// dump lists everything, in key order, for comparing.
func (m memory) dump() string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(projections.DescribeKey([]byte(k)))
		b.WriteString(" = ")
		for _, c := range []byte(m[k]) {
			b.WriteString(" ")
			b.WriteByte("0123456789abcdef"[c>>4])
			b.WriteByte("0123456789abcdef"[c&15])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
