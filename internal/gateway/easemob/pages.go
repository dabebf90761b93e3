package easemob

import (
	"strconv"
)

// page reads pagenum, which begins with 1, and pagesize. Malformed values count as missing.
func page(c *call) (from, size int) {
	query := c.r.URL.Query()
	number, _ := strconv.Atoi(query.Get("pagenum"))
	size, err := strconv.Atoi(query.Get("pagesize"))
	if err != nil || size < 1 || size > maxPage {
		size = maxPage
	}
	return (min(max(number, 1), maxPages) - 1) * size, size
}

const (
	maxPage  = 1000
	maxPages = 1 << 20
)

func slice[T any](list []T, from, size int) []T {
	from = min(from, len(list))
	return list[from:min(from+size, len(list))]
}
