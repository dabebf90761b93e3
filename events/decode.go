package events

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Decode fills the batch with a log entry that [Builder.Encode] made, in the memory it already has.
// It keeps nothing of data.
//
// Whatever data is, Decode returns: either with every index of the batch within its table and every
// size within its limit, or with an empty batch and an error that wraps [ErrMalformed] or
// [ErrVersion]. The characters of ids are not checked again: nothing gets into the log unvalidated.
func (b *Batch) Decode(data []byte) error {
	b.reset()
	err := b.decode(data)
	if err != nil {
		b.reset()
	}
	return err
}

func (b *Batch) decode(data []byte) error {
	payload, err := b.payload(data)
	if err != nil {
		return within("entry", err)
	}
	var fields [batchFields][]byte
	if err := b.split(payload, fields[:]); err != nil {
		return within("batch", err)
	}
	if err := b.readTables(fields[:]); err != nil {
		return within("batch", err)
	}
	if err := b.readRuns(); err != nil {
		return within("batch", err)
	}
	if err := b.readParticipants(fields[batchSides]); err != nil {
		return within("batch", err)
	}
	if err := b.readOptional(fields[batchTimes]); err != nil {
		return within("batch", err)
	}
	return nil
}

// within says where an error happened.
func within(where string, err error) error { return fmt.Errorf("%s: %w", where, err) }

// payload returns the batch message of an entry, decompressed.
func (b *Batch) payload(data []byte) ([]byte, error) {
	if len(data) > maxRawBytes {
		return nil, malformed("%d bytes", len(data))
	}
	var version, compression, rawSize uint64
	var payload []byte
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return nil, err
		}
		data = rest
		want := protowire.VarintType
		switch f.num {
		case entryFieldVersion:
			version = f.value
		case entryFieldCompression:
			compression = f.value
		case entryFieldRawSize:
			rawSize = f.value
		case entryFieldPayload:
			payload, want = f.bytes, protowire.BytesType
		default:
			return nil, unknown("field %d", f.num)
		}
		if err := f.is(want); err != nil {
			return nil, err
		}
	}
	switch {
	case version == 0:
		return nil, malformed("no version")
	case version != entryVersion:
		return nil, unknown("%d, this receiptd reads version %d", version, entryVersion)
	case compression == compressionNone:
		return payload, nil
	case compression != compressionZstd:
		return nil, unknown("compression %d", compression)
	case rawSize > maxRawBytes:
		return nil, malformed("raw_size %d, at most %d", rawSize, maxRawBytes)
	}
	return b.decompress(payload, int(rawSize))
}

func (b *Batch) decompress(payload []byte, size int) ([]byte, error) {
	if cap(b.scratch.raw) < size {
		b.scratch.raw = make([]byte, 0, size)
	}
	// The decoder never writes beyond the capacity.
	raw, err := zstdDecoder().DecodeAll(payload, b.scratch.raw[:0:size])
	if err != nil {
		return nil, malformed("payload: %v", err)
	}
	if len(raw) != size {
		return nil, malformed("payload: %d bytes, raw_size %d", len(raw), size)
	}
	return raw, nil
}

// split separates the fields of the payload; repeated ones go straight to where they belong.
func (b *Batch) split(payload []byte, fields [][]byte) error {
	s := &b.scratch
	return splitFields(payload, batchNames, fields, func(num int, value []byte) error {
		switch num {
		case batchApps:
			if len(s.apps) == MaxBatchEvents || len(value) == 0 || len(value) > maxAppBytes {
				return malformed("apps: %d bytes after %d apps", len(value), len(s.apps))
			}
			s.apps = append(s.apps, s.arena.copyBytes(value))
		case batchContents:
			if len(b.Contents) == MaxBatchEvents || len(value) == 0 || len(value) > MaxContentBytes {
				return malformed("contents: %d bytes after %d contents", len(value), len(b.Contents))
			}
			b.Contents = append(b.Contents, s.arena.copyBytes(value))
		case batchAttributes:
			if len(s.columns.attributes) == MaxBatchEvents {
				return malformed("attributes: more than %d", MaxBatchEvents)
			}
			s.columns.attributes = append(s.columns.attributes, value)
		}
		return nil
	})
}

// maxAppBytes bounds an app key, "org#app".
const maxAppBytes = 2*maxAppNameBytes + 1

// columns are what a batch does not show, while it is decoded: columns of references, and tables.
type columns struct {
	runKinds, runFlags, runLengths []uint32
	messageRefs, messageRuns       []uint32
	conversationRefs, userRefs     []uint32
	conversations                  []uint32
	contentGaps, contentRefs       []uint32
	groups, messages               []string
	eventIDGaps, uptoGaps          []uint32
	labelGaps                      []uint32
	eventIDs, uptos, labels        []string
	attributes                     [][]byte
	ids                            idReader
}

// readTables decodes everything that can be decoded without looking at the events.
func (b *Batch) readTables(fields [][]byte) error {
	c := &b.scratch.columns
	for _, column := range [...]struct {
		field  int
		values *[]uint32
	}{
		{batchRunKinds, &c.runKinds}, {batchRunFlags, &c.runFlags}, {batchRunLengths, &c.runLengths},
		{batchMessageRefs, &c.messageRefs}, {batchMessageRuns, &c.messageRuns},
		{batchConversationRefs, &c.conversationRefs}, {batchUserRefs, &c.userRefs},
		{batchConversations, &c.conversations},
		{batchContentGaps, &c.contentGaps}, {batchContentRefs, &c.contentRefs},
		{batchEventIDGaps, &c.eventIDGaps}, {batchUptoGaps, &c.uptoGaps},
		{batchLabelGaps, &c.labelGaps},
	} {
		var err error
		if *column.values, err = unpack((*column.values)[:0], fields[column.field]); err != nil {
			return within(batchNames[column.field], err)
		}
	}
	for _, table := range [...]struct {
		field int
		ids   *[]string
	}{{batchGroups, &c.groups}, {batchMessages, &c.messages}, {batchUsers, &b.Users}, {batchEventIDs, &c.eventIDs}, {batchUptos, &c.uptos}, {batchLabels, &c.labels}} {
		var err error
		if *table.ids, err = c.ids.read((*table.ids)[:0], &b.scratch.arena, fields[table.field]); err != nil {
			return within(batchNames[table.field], err)
		}
	}
	return nil
}
