package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/receiptd/receiptd/internal/config"
)

// fields makes a JSON object of arguments like name=value. A name like a.b is a field of an object
// in it. After := a value is JSON as it is; after = the function says what it is.
func fields(args []string, value func(name, text string) any) (map[string]any, error) {
	object := map[string]any{}
	for _, arg := range args {
		name, text, given := strings.Cut(arg, "=")
		var v any
		switch raw, is := strings.CutSuffix(name, ":"); {
		case !given: // a flag
			v = true
		case is:
			if name = raw; json.Unmarshal([]byte(text), &v) != nil {
				return nil, config.Problem{Setting: name, Reason: fmt.Sprintf("after := there is JSON, which %q is not", text)}
			}
		default:
			v = value(name, text)
		}
		if name == "" {
			return nil, config.Problem{Setting: arg, Reason: "is not NAME=VALUE"}
		}
		put(object, strings.Split(name, "."), v)
	}
	return object, nil
}

// put sets a field of an object, or of one in it.
func put(object map[string]any, path []string, v any) {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := object[path[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[path[0]] = inner
		}
		object = inner
	}
	object[path[0]] = v
}

// eventValue is the value of a field of an event: ids are text, even if they are numbers.
func eventValue(name, text string) any {
	switch name {
	case "receipt", "strict", "silent":
		return plainly(text)
	case "members", "admins", "messages":
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
	case "time":
		return plainly(text)
	}
	return text
}

// settingValue is the value of a setting.
func settingValue(_, text string) any { return plainly(text) }

// plainly is a value that is written as in JSON, and text without quotes.
func plainly(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil || v == nil {
		return text
	}
	if _, is := v.(float64); is {
		return json.Number(text) // as it was written
	}
	return v
}
