package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/receiptd/receiptd/events"
)

// Bounds of the lists.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// limit reads the limit parameter.
func (c *call) limit() (int, error) { return c.limitOf(maxLimit) }

// limitOf reads the limit parameter, which is at most so much.
func (c *call) limitOf(most int) (int, error) {
	query := c.r.URL.Query()
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	n, err := strconv.ParseUint(query.Get("limit"), 10, 31) // which takes no sign
	if err != nil || n < 1 || n > uint64(most) {
		return 0, invalid("limit", fmt.Sprintf("not a number from 1 to %d", most))
	}
	return int(n), nil
}

// list names what a page cursor belongs to, so that one cannot be used for another list.
type list byte

const (
	listReaders       list = 'r'
	listNonReaders    list = 'n'
	listConversations list = 'c'
	listMembers       list = 'm'
	listUnread        list = 'u'
	listPositions     list = 'p'
	listMessages      list = 'g'
	listReads         list = 'd'
	listRates         list = 'a'
	listAlerts        list = 'A'
	// Of a user, and of a group.
	listInvitations      list = 'i'
	listGroupInvitations list = 'j'
)

// pageCursor is where the next page of a list begins that counts its places, as text for the
// client; empty after the last page.
func (a *API) pageCursor(l list, next int) string {
	if next == 0 {
		return ""
	}
	return a.placeCursor(l, string(binary.AppendUvarint(nil, uint64(next))))
}

// placeCursor is a place in a list as text for the client. Its bytes, before base64: the list, the
// log's identity, the place.
func (a *API) placeCursor(l list, place string) string {
	b := binary.BigEndian.AppendUint64([]byte{byte(l)}, a.cfg.Identity)
	return base64.RawURLEncoding.EncodeToString(append(b, place...))
}

// pageOf reads the limit and cursor parameters of a list that counts its places.
func (a *API) pageOf(c *call, l list) (from, limit int, err error) {
	place, limit, err := a.placeOf(c, l)
	if err != nil || place == "" {
		return 0, limit, err
	}
	next, n := binary.Uvarint([]byte(place))
	if n != len(place) || next == 0 || next > math.MaxInt || l != listUnread && l != listMessages && next > events.MaxEverMembers {
		return 0, 0, invalidCursor("cursor")
	}
	return int(next), limit, nil
}

// placeOf reads the limit and cursor parameters; the place is empty at the beginning of the list.
func (a *API) placeOf(c *call, l list) (place string, limit int, err error) {
	if limit, err = c.limit(); err != nil {
		return "", 0, err
	}
	place, err = a.placeIn(c, l)
	return place, limit, err
}

// placeIn reads the cursor parameter; the place is empty at the beginning of the list.
func (a *API) placeIn(c *call, l list) (place string, err error) {
	text := c.r.URL.Query().Get("cursor")
	if text == "" {
		return "", nil
	}
	return a.placeFrom(text, "cursor", l)
}

// placeFrom takes apart what placeCursor made; field is where the client has it.
func (a *API) placeFrom(text, field string, l list) (place string, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	const head = 1 + 8
	switch {
	case err != nil || len(b) < 2 || list(b[0]) != l:
		return "", invalidCursor(field)
	case len(b) <= head || binary.BigEndian.Uint64(b[1:]) != a.cfg.Identity:
		// Without an identity, as cursors once were, it may be of any log.
		return "", foreignCursor(field)
	}
	return string(b[head:]), nil
}

// flag reads a parameter that is true or false; false if it is not there.
func (c *call) flag(name string) (bool, error) {
	switch c.r.URL.Query().Get(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, invalid(name, "neither true nor false")
}

// readBody reads a small body whole, which must not be compressed.
func (c *call) readBody(limit int64) ([]byte, error) {
	if encoding, err := encodingOf(c.r); err != nil || encoding != "" {
		return nil, badEncoding("none")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	if bytes.HasPrefix(body, []byte("\ufeff")) {
		return nil, invalid("body", "a byte order mark at the beginning: send UTF-8 without one")
	}
	return body, nil
}

// bodyError is the answer for a body that could not be read.
func bodyError(err error) error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(fmt.Sprintf("the body is larger than %d bytes", over.Limit))
	}
	e := newError(http.StatusBadRequest, "invalid_request", "the body could not be read: "+err.Error())
	e.Field = "body"
	return e
}

// readJSON reads a small JSON object into v, strictly: an unknown field is a mistake that its
// caller wants to hear of.
func (c *call) readJSON(limit int64, v any) error {
	body, err := c.readBody(limit)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if jsontext.Value(body).Kind() == 'n' { // the library takes it for an object without fields
		return invalid("body", "null, not an object")
	}
	if err := json.Unmarshal(body, v, json.RejectUnknownMembers(true), json.WithUnmarshalers(noNullItems)); err != nil {
		return jsonError(err)
	}
	return nil
}

// noNullItems refuses a null in an array. A field may be left out, and null says so; an item cannot
// be, and the library reads null as an empty one.
var noNullItems = json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v any) error {
	if in, _ := dec.StackIndex(dec.StackDepth()); in != '[' || dec.PeekKind() != 'n' {
		return errors.ErrUnsupported
	}
	return &json.SemanticError{GoType: reflect.TypeOf(v).Elem()}
})

// jsonError says what is wrong in terms of the API, where the library's words are about Go.
func jsonError(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return invalid("body", "malformed JSON: "+syntactic.Err.Error())
	}
	field, problem := "body", "not of the right type"
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		if path := strings.TrimPrefix(string(semantic.JSONPointer), "/"); path != "" {
			field = path
		}
		switch {
		case errors.Is(err, json.ErrUnknownName):
			problem = "unknown field"
		case semantic.GoType == reflect.TypeFor[events.Duration]() && semantic.Err != nil:
			problem = semantic.Err.Error()
		default:
			problem = events.WrongType(semantic.GoType)
		}
	}
	return invalid(field, problem)
}
