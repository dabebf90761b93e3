package httpapi

import (
	"mime"
	"strconv"
	"strings"
)

// rateFormat is a media type that read rates can be had in.
type rateFormat string

const (
	rateJSON   rateFormat = "application/json"
	rateNDJSON rateFormat = "application/x-ndjson"
	rateCSV    rateFormat = "text/csv"
)

// rateFormatOf is the first format named in an Accept header; JSON if none is.
func rateFormatOf(accept string) rateFormat {
	for _, one := range strings.Split(accept, ",") {
		name, _, _ := mime.ParseMediaType(one)
		switch format := rateFormat(name); format {
		case rateJSON, rateNDJSON, rateCSV:
			return format
		}
	}
	return rateJSON
}

func itoa(n int) string { return strconv.Itoa(n) }
